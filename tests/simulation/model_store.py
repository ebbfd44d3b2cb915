"""A store with compare-and-set, sessions and watches, and no election of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from leadership_core import Fence
from leadership_core.backend.deadline import remaining_timeout
from leadership_core.backend.entries import ABSENT, ANY, Change, Entry, Expected
from leadership_core.backend.protocols import Capability, Closable, Session
from leadership_core.backend.watches import PollingWatcher
from leadership_core.errors import Conflict

from .kernel import World
from .network import Link, Reply
from .server import KEY, Server, ServerClaim, ServerSession

__all__ = ["ModelServer", "ModelStore"]


class ModelServer(Server):
    """The server behind `ModelStore`.

    Args:
        world: of the run.
        rng: see `Server`.
        counts: whether revisions grow over the whole store; otherwise they restart with each new key.
    """

    def __init__(self, world: World, rng: random.Random, *, counts: bool) -> None:
        super().__init__(world, rng, 1.0, 1.0 + rng.choice([0.0, 0.1, 0.5]))
        self.entries: dict[str, Entry] = {}
        self.counts = counts
        self.changes = 0

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def put(self, key: str, value: bytes, expect: Expected, session: str | None) -> Entry:
        now = self.entries.get(key)
        self._expected(now, expect)
        if session is not None:
            self.alive(session).keys.add(key)
        self.changes += 1
        revision = self.changes if self.counts else 1 if now is None else now.revision + 1
        entry = self.entries[key] = Entry(key, value, revision, session)
        if key == KEY and session is not None:
            self.record_claim(value)
        self.changed()
        return entry

    def delete(self, key: str, expect: Expected) -> bool:
        now = self.entries.get(key)
        self._expected(now, expect)
        if now is None:
            return False
        del self.entries[key]
        self.changes += 1
        self.changed()
        return True

    def _expected(self, now: Entry | None, expect: Expected) -> None:
        if expect is ABSENT:
            if now is not None:
                raise Conflict("it is there")
        elif expect is not ANY and now != expect:
            raise Conflict("it is not as expected")

    def free(self, session: ServerSession) -> None:
        for key in sorted(session.keys):
            entry = self.entries.get(key)
            if entry is not None and entry.session == session.id:
                self.delete(key, ANY)

    # -- for the checks ----------------------------------------------------------------

    def claims(self) -> list[ServerClaim]:
        entry = self.entries.get(KEY)
        if entry is None or entry.session is None:
            return []
        token: int | None = entry.revision
        if not self.counts:
            # Until its term is counted, the holder does not lead.
            epoch = self.entries.get(f"{KEY}/.epoch")
            number, revision, session = (
                ("0", "0", "") if epoch is None else epoch.value.decode().split(" ", 2)
            )
            counted = (int(revision), session) == (entry.revision, entry.session)
            token = int(number) if counted else None
        return [ServerClaim(entry.value, token, entry.session)]

    # -- an operator -------------------------------------------------------------------------

    def has_claim_entry(self) -> bool:
        return KEY in self.entries

    def delete_first(self) -> None:
        self.delete(KEY, ANY)

    def overwrite_first(self) -> None:
        now = self.entries[KEY]
        self.changes += 1
        revision = self.changes if self.counts else now.revision + 1
        self.entries[KEY] = replace(now, value=b"by hand", revision=revision, session=None)
        self.changed()


class _Session:
    """See `leadership_core.Session`."""

    def __init__(self, store: ModelStore, session: ServerSession) -> None:
        self._store, self._session = store, session

    @property
    def id(self) -> str:
        return self._session.id

    @property
    def ttl(self) -> float:
        return self._session.ttl

    def renew(self) -> float:
        server = self._store.server

        def renew() -> float:
            session = server.alive(self.id)
            server.touch(session)
            return session.ttl

        return self._store.link.call(f"renew {self.id}", renew)

    def close(self) -> None:
        server = self._store.server
        self._store.link.call(f"close {self.id}", lambda: server.end(self._session))

    def __repr__(self) -> str:
        return f"<session {self.id}>"


class ModelStore:
    """A plugin on top of that server; see `leadership_core.backend.StoreBackend`."""

    prefix = ""
    least_margin = 0.0

    def __init__(self, server: ModelServer, link: Link) -> None:
        self.link, self.server = link, server
        self.capabilities = {Capability.SESSIONS} | (
            {Capability.GLOBAL_REVISION} if server.counts else set()
        )
        self._seen = -1
        self._watches = PollingWatcher(self._read_states, pause=2.0, wait=self._wait)

    def expires_within(self, ttl: float) -> float:
        return ttl * self.server.most

    def get(self, key: str) -> Entry | None:
        return self.link.call(f"get {key}", lambda: self.server.get(key))

    def list(self, prefix: str) -> list[Entry]:
        raise NotImplementedError

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        sid = None if session is None else session.id
        return self.link.call(
            f"put {key} {value.decode()} if {expect}",
            lambda: self.server.put(key, value, expect, sid),
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.link.call(f"delete {key}", lambda: self.server.delete(key, expect))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._watches.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> Session:
        return _Session(self, self.link.call("open", lambda: self.server.open(ttl), copies=False))

    def close(self) -> None:
        self.link.close()
        self._watches.close()

    def _read_states(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        def read() -> tuple[int, Sequence[Change]]:
            return self.server.changes, [self.server.get(key) for key, _ in watched]

        self._seen, states = self.link.call("read", read, copies=False)
        return states

    def _wait(self, seconds: float) -> None:
        """A long poll."""
        server, seen = self.server, self._seen

        def hold(reply: Reply) -> None:
            server.wait(lambda: server.changes != seen, lambda: reply(None), seconds)

        self.link.ask("poll", hold, remaining_timeout())
