"""A store that works, and what can go wrong on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from ..capabilities import capabilities_of
from ..default_election import DefaultElection
from ..errors import ConfigurationError, LeadershipError
from ..handle import StoreHandle
from ..optional import (
    election_of,
    expires_within,
    least_margin_of,
    prefix_of,
)
from ..store import ANY, Capability, Change, Closable, Election, Entry, Expected, Session, Store
from .faulty_election import FaultyElection
from .link import Link

__all__ = ["FaultySession", "FaultyStore"]


class FaultySession:
    """A session whose calls meet the faults of its store; see `leadership_core.Session`.

    Attributes:
        inner: the session of the backend, which meets none.
    """

    def __init__(self, store: FaultyStore, inner: Session) -> None:
        self.store, self.inner = store, inner

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def ttl(self) -> float:
        return self.inner.ttl

    def renew(self) -> float:
        granted = self.store.granted

        def request() -> float:
            return self.inner.renew() if granted is None else granted

        return self.store.through("renew", request, self)

    def close(self) -> None:
        self.store.through("close_session", self.inner.close, self)


class FaultyStore(Link):
    """Any backend, with faults; see `leadership_core.Store`.

    All is well until `inject`, `script` or `shuffle` says otherwise. An election of the backend's
    own meets faults from `enter` to `watch_leader`; the core's default election, which is made
    of reads and writes, meets them at each of these.

    Args:
        inner: the backend, such as `Lab.backend` returns; closed with this one.
        without: capabilities to hide.
        least_margin: as a store with coarse clocks has it, in seconds.

    Attributes:
        calls: how many there have been, by name; see `CALLS`.
        sessions: all that were opened.
        lateness: seconds; of the faults that come late.
        granted: a ttl that renewals report in place of the real one, or None.
    """

    def __init__(
        self, inner: Store, *, without: Iterable[Capability] = (), least_margin: float | None = None
    ) -> None:
        super().__init__()
        self.inner = inner
        self.capabilities = capabilities_of(inner) - set(without)
        self.prefix = prefix_of(inner)
        self.least_margin = least_margin_of(inner) if least_margin is None else least_margin
        self.sessions: list[FaultySession] = []
        self.granted: float | None = None
        self._elections: dict[str, Election] = {}

    # -- the store ---------------------------------------------------------------------------

    def expires_within(self, ttl: float) -> float:
        return expires_within(self.inner, ttl)

    def get(self, key: str) -> Entry | None:
        return self.through("get", lambda: self.inner.get(key))

    def list(self, prefix: str) -> list[Entry]:
        return self.through("list", lambda: self.inner.list(prefix))

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        inner = None if session is None else inner_session(session)
        return self.through(
            "put" if session is None else "put_claim",
            lambda: self.inner.put(key, value, expect=expect, session=inner, fence=fence),
            session,
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.through("delete", lambda: self.inner.delete(key, expect=expect))

    def delete_tree(self, prefix: str) -> int:
        own: Callable[[str], int] | None = getattr(self.inner, "delete_tree", None)
        if own is None:
            return sum(self.delete(entry.key) for entry in self.list(prefix))
        return self.through("delete_tree", lambda: own(prefix))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self.watching(
            "watch", on_change, lambda hear: self.inner.watch(key, hear, tree=tree)
        )

    def open_session(self, ttl: float) -> FaultySession:
        def request() -> FaultySession:
            session = FaultySession(self, self.inner.open_session(ttl))
            self.sessions.append(session)
            return session

        return self.through("open_session", request)

    def election(self, key: str) -> Election:
        if key not in self._elections:
            self._elections[key] = self._new_election(key)
        return self._elections[key]

    def _new_election(self, key: str) -> Election:
        own = election_of(self.inner, key)
        if not isinstance(own, DefaultElection):
            return FaultyElection(self, own, key)
        if Capability.SESSIONS not in self.capabilities:
            raise ConfigurationError("a store without sessions has no elections")
        return DefaultElection(self, key)

    def end_session(self, session: Session | None) -> None:
        inner = None if session is None else inner_session(session)
        for one in list(self.sessions):
            if inner is None or one.inner is inner:
                with suppress(LeadershipError):
                    one.inner.close()

    def close(self) -> None:
        self._closed = True
        for watch in list(self._watches):
            watch.close()
        self.inner.close()

    def opened(self, url: str = "faulty://test") -> StoreHandle:
        """Open it as a user does, who closes it."""
        return StoreHandle(self, url)


def inner_session(session: Session) -> Session:
    """The backend's own session."""
    return session.inner if isinstance(session, FaultySession) else session
