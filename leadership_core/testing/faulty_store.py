"""A store with injected faults: any backend, and lost, late or failing calls to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from ..backend.capabilities import capabilities_of, expires_within, least_margin_of, prefix_of
from ..backend.default_election import DefaultElection, election_of
from ..backend.entries import ANY, Change, Entry, Expected
from ..backend.fence import Fence
from ..backend.protocols import Capability, Closable, Election, Session, StoreBackend
from ..backend.time_source import time_source_of
from ..errors import ConfigurationError, LeadershipError
from ..store import Store
from .fault_injection import FaultInjector
from .faulty_election import FaultyElection

__all__ = ["FaultySession", "FaultyStore"]


class FaultySession:
    """A session with the faults of its store; see `leadership_core.backend.Session`.

    Attributes:
        inner: the session of the backend, without faults.
    """

    def __init__(self, store: FaultyStore, inner: Session) -> None:
        self.store: FaultyStore = store
        self.inner: Session = inner

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def ttl(self) -> float:
        return self.inner.ttl

    @property
    def closing_delays_others(self) -> bool:
        """As the session without faults says."""
        return getattr(self.inner, "closing_delays_others", False)

    def renew(self) -> float:
        granted = self.store.granted

        def request() -> float:
            return self.inner.renew() if granted is None else granted

        return self.store.invoke("renew", request, self)

    def close(self) -> None:
        self.store.invoke("close_session", self.inner.close, self)


class FaultyStore(FaultInjector):
    """Any backend, with injected faults; see `leadership_core.backend.StoreBackend`.

    There are no faults until `inject`, `script` or `shuffle` orders some. In an election of the
    backend's own, the calls from `enter` to `watch_leader` meet faults; in the core's default
    election, which consists of reads and writes, each of these does.

    Example:
        >>> faulty = FaultyStore(sandbox.backend())
        >>> candidate = Candidate(faulty.opened(), "jobs", "a")
        >>> faulty.inject(Fault.REPLY_LOST, "renew", times=2)

    Args:
        inner: the backend, such as `Sandbox.backend` returns; it is closed with this store.
        without: capabilities to hide.
        least_margin: seconds; what the store declares, in place of the backend's own value.

    Attributes:
        calls: the number of calls by name; see `CALLS`.
        sessions: all sessions that were opened.
        lateness: seconds; delay of the faults that come late.
        granted: a ttl that renewals report in place of the real one, or None.
    """

    def __init__(
        self,
        inner: StoreBackend,
        *,
        without: Iterable[Capability] = (),
        least_margin: float | None = None,
    ) -> None:
        super().__init__(time_source_of(inner))
        self.inner = inner
        self.capabilities: frozenset[Capability] = capabilities_of(inner) - set(without)
        self.prefix: str = prefix_of(inner)
        self.least_margin: float = least_margin_of(inner) if least_margin is None else least_margin
        self.sessions: list[FaultySession] = []
        self.granted: float | None = None
        self._elections: dict[str, Election] = {}

    # -- the store ---------------------------------------------------------------------------

    def expires_within(self, ttl: float) -> float:
        return expires_within(self.inner, ttl)

    def get(self, key: str) -> Entry | None:
        return self.invoke("get", lambda: self.inner.get(key))

    def list(self, prefix: str) -> list[Entry]:
        return self.invoke("list", lambda: self.inner.list(prefix))

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        inner = None if session is None else inner_session(session)
        return self.invoke(
            "put" if session is None else "put_claim",
            lambda: self.inner.put(key, value, expect=expect, session=inner, fence=fence),
            session,
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.invoke("delete", lambda: self.inner.delete(key, expect=expect))

    def delete_tree(self, prefix: str) -> int:
        own: Callable[[str], int] | None = getattr(self.inner, "delete_tree", None)
        if own is None:
            return sum(self.delete(entry.key) for entry in self.list(prefix))
        return self.invoke("delete_tree", lambda: own(prefix))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self.watching(
            "watch", on_change, lambda deliver: self.inner.watch(key, deliver, tree=tree)
        )

    def open_session(self, ttl: float) -> FaultySession:
        def request() -> FaultySession:
            session = FaultySession(self, self.inner.open_session(ttl))
            self.sessions.append(session)
            return session

        return self.invoke("open_session", request)

    def election(self, key: str) -> Election:
        if key not in self._elections:
            own = election_of(self.inner, key)
            if not isinstance(own, DefaultElection):
                self._elections[key] = FaultyElection(self, own, key)
            elif Capability.SESSIONS in self.capabilities:
                self._elections[key] = DefaultElection(self, key)
            else:
                raise ConfigurationError("a store without sessions has no elections")
        return self._elections[key]

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

    def opened(self, url: str = "faulty://test") -> Store:
        """Open it as a user does; the caller closes it."""
        return Store(self, url)


def inner_session(session: Session) -> Session:
    """Return the backend's own session."""
    return session.inner if isinstance(session, FaultySession) else session
