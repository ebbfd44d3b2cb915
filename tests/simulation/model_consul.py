"""Consul's rules for sessions, locks, indexes and lock delays, behind the client of our backend."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from leadership_consul.client import Operation, Record, TxnRefused
from leadership_consul.options import Options
from leadership_consul.store import ConsulStore
from leadership_core.errors import SessionLost
from leadership_core.url import StoreURL

from .clients import CLIENTS
from .kernel import World
from .network import Link, Reply
from .server import KEY, Server, ServerSession

__all__ = ["ConsulServer", "open_consul"]

_SLACK = 5.0  # seconds that the answer of a long poll may be late


class ConsulServer(Server):
    """A Consul as one linearizable thing.

    Attributes:
        index: of the last write; it grows over the whole of Consul.
        lock_delay: seconds, of the sessions that are opened here.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        # It promises once the ttl, and takes twice of it as a rule.
        super().__init__(world, rng, 1.0, 2.0)
        self.index = 10
        self.lock_delay = rng.choice([0.0, 0.0, 0.0, 2.0])
        self.records: dict[str, Record] = {}
        self._written = 10  # index of the last write of a key, deletions included
        self._delayed: dict[str, float] = {}
        self._kept: dict[str, Record] = {}

    def new_id(self, number: int) -> str:
        return f"00000000-0000-0000-0000-{number:012d}"

    # -- transactions ------------------------------------------------------------------------

    def txn(self, operations: tuple[Operation, ...]) -> list[Record]:
        """Do all or none; raises `TxnRefused`."""
        self._kept = dict(self.records)
        self.index += 1
        done: list[Record] = []
        try:
            for step, one in enumerate(operations):
                done += self._do(step, one)
        except TxnRefused:
            self.records = self._kept
            raise
        for one in operations:
            if one["Verb"] == "lock" and one["Key"] == KEY:
                self.claimed(base64.b64decode(one["Value"]))
        self.news()
        return done

    def _do(self, step: int, said: Operation) -> list[Record]:
        verb, key = said["Verb"], said["Key"]
        now = self.records.get(key)
        value = base64.b64decode(said.get("Value", ""))
        flags = said.get("Flags", 0)
        match verb:
            case "check-index":
                if now is None or now.modified != said["Index"]:
                    raise TxnRefused(step, f"current modify index does not match for {key!r}")
                return [replace(now, value=b"")]
            case "check-not-exists":
                if now is not None:
                    raise TxnRefused(step, f"key {key!r} exists")
                return []
            case "get":
                if now is None:
                    raise TxnRefused(step, f"key {key!r} doesn't exist")
                return [now]
            case "cas" if said["Index"] == 0 and now is not None:
                raise TxnRefused(step, f"failed to set key {key!r}, index is stale")
            case "set" | "cas":
                # A write keeps the session, and sets the count of locks back.
                holder = None if now is None else now.session
                return [self._write(key, value, flags, holder, 0)]
            case "lock":
                return [self._lock(step, key, now, value, flags, said["Session"])]
            case "unlock":
                if now is None or now.session is None or now.session != said["Session"]:
                    raise TxnRefused(step, f"failed to unlock key {key!r}, lock isn't held")
                return [self._write(key, value, flags, None, now.locked)]
            case "delete":
                if self.records.pop(key, None) is not None:
                    self._written = self.index
                return []
        raise AssertionError(verb)

    def _lock(
        self, step: int, key: str, now: Record | None, value: bytes, flags: int, session: str
    ) -> Record:
        if session not in self.sessions:
            raise TxnRefused(step, f'invalid session "{session}"')
        if self._delayed.get(key, 0.0) > self.world.now:
            raise TxnRefused(step, f"failed to lock key {key!r} due to lock delay")
        if now is not None and now.session not in {None, session}:
            raise TxnRefused(step, f"failed to lock key {key!r}, lock is already held")
        locked = 1 if now is None else now.locked + (now.session is None)
        self.sessions[session].keys.add(key)
        return self._write(key, value, flags, session, locked)

    def _write(
        self, key: str, value: bytes, flags: int, session: str | None, locked: int
    ) -> Record:
        now = self.records.get(key)
        created = self.index if now is None else now.created
        record = Record(key, value, flags, session, created, self.index, locked)
        if now is not None and replace(record, modified=now.modified) == now:
            record = now  # nothing would change, so the index stays
        else:
            self._written = self.index
        self.records[key] = record
        return replace(record, value=b"")

    # -- reads and sessions ------------------------------------------------------------------

    def read(self, key: str) -> Record | None:
        return self.records.get(key)

    def look(self, path: str, *, below: bool) -> tuple[int, list[Record]]:
        """What is there, and the index to wait after."""
        if below:
            found = [one for key, one in sorted(self.records.items()) if key.startswith(path)]
            return self._written, found
        record = self.records.get(path)
        return (self._written, []) if record is None else (record.modified, [record])

    def create(self, ttl: float) -> str:
        self.index += 1
        return self.open(ttl).id

    def renew(self, session: str) -> float:
        found = self.sessions.get(session)
        if found is None:
            raise SessionLost("Consul has ended the session")
        self.touch(found)
        return found.ttl

    def free(self, session: ServerSession) -> None:
        for key in sorted(session.keys):
            now = self.records.get(key)
            if now is not None and now.session == session.id:
                self.index += 1
                self._write(key, now.value, now.flags, None, now.locked)
                if self.lock_delay:
                    self._delayed[key] = self.world.now + self.lock_delay

    # -- what the checks look at -------------------------------------------------------------

    def holders(self) -> list[bytes]:
        now = self.records.get(KEY)
        return [now.value] if now is not None and now.session is not None else []

    def token(self) -> int | None:
        now = self.records.get(KEY)
        return None if now is None or now.session is None else now.modified

    # -- people ------------------------------------------------------------------------------

    def meddled(self, session: ServerSession | None) -> None:
        now = self.records.get(KEY)
        held = now is not None and now.session is not None
        if now is not None and held and (session is None or now.session == session.id):
            self.by_hand.add(now.modified)

    def delete_by_hand(self) -> None:
        if KEY in self.records:
            self.meddled(None)
            self.world.note("somebody deletes the key")
            self.index += 1
            self._written = self.index
            del self.records[KEY]
            self.news()

    def overwrite_by_hand(self) -> None:
        """With a plain put, which leaves the lock; or by `consul lock`'s way out."""
        now = self.records.get(KEY)
        if now is None:
            return
        self.meddled(None)
        self.world.note("somebody writes over the key")
        self.index += 1
        if self.rng.random() < 0.5:
            self._write(KEY, b"by hand", self.rng.choice([0, now.flags]), now.session, 0)
        else:
            self._write(KEY, now.value, now.flags, None, now.locked)
        self.news()


class _Client:
    """Stands in for `leadership_consul.client.Client`, which speaks HTTP."""

    def __init__(self, options: Options, server: ConsulServer, link: Link) -> None:
        self.options = options
        self._server, self._link = server, link
        link.answers = (TxnRefused,)

    def read(self, key: str) -> Record | None:
        return self._link.call("read", lambda: self._server.read(key))

    def poll(
        self, path: str, *, below: bool, index: int = 0, wait: float = 0
    ) -> tuple[int, list[Record]]:
        server = self._server

        def hold(reply: Reply) -> None:
            def answer() -> None:
                reply(server.look(path, below=below))

            server.wait(
                lambda: not index or server.look(path, below=below)[0] > index, answer, wait
            )

        limit = (wait + wait / 16 if index > 0 else 0) + _SLACK
        lane = self._link.network.world.current.context.get(1)
        found = self._link.ask(f"poll after {index}", hold, limit, lane=lane)
        return cast("tuple[int, list[Record]]", found)

    def txn(self, *operations: Operation) -> list[Record]:
        shown = " ".join(f"{one['Verb']} {one.get('Index', '')}".strip() for one in operations)
        return self._link.call(f"txn [{shown}]", lambda: self._server.txn(operations))

    def create_session(
        self, ttl: float, lock_delay: float, *, name: str = "", deletes: bool = False
    ) -> str:
        return self._link.call("create session", lambda: self._server.create(ttl), copies=False)

    def renew_session(self, session: str) -> float:
        return self._link.call(f"renew {session[-4:]}", lambda: self._server.renew(session))

    def session_name(self, session: str) -> str | None:
        there = self._server.sessions
        return self._link.call("session?", lambda: "leadership" if session in there else None)

    def destroy_session(self, session: str) -> None:
        def destroy() -> None:
            found = self._server.sessions.get(session)
            if found is not None:
                self._server.end(found)

        self._link.call(f"destroy {session[-4:]}", destroy)

    def lane(self) -> SimpleNamespace:
        """The calling thread's; what it waits for can be cut."""
        context = self._link.network.world.current.context
        lane: SimpleNamespace | None = context.get(1)
        if lane is None:
            lane = context[1] = SimpleNamespace(close=lambda: None)
            lane.line = SimpleNamespace(cut=lambda: self._link.cut(lane))
        return lane

    def close(self) -> None:
        self._link.close()


def open_consul(server: Any, link: Link) -> ConsulStore:
    """A store of the shipped backend, whose client is at that server."""
    url = StoreURL.parse(f"consul://:none@sim:8500?lock_delay={server.lock_delay:g}")
    with CLIENTS.made_by(lambda options: _Client(options, server, link)):
        return ConsulStore(url)
