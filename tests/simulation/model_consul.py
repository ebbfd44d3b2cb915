"""Model of Consul: sessions, locks, indexes, lock delays, and a client for the shipped backend."""

from __future__ import annotations

import base64
import random
from types import SimpleNamespace
from typing import Any, cast

from leadership_consul.client import KeyValue, Operation, TxnConflict
from leadership_consul.options import Options
from leadership_consul.store import ConsulStore
from leadership_core.backend.url import StoreURL
from leadership_core.errors import SessionLost

from .kernel import World
from .network import Link, Reply
from .patching import CLIENTS
from .server import KEY, Server, ServerClaim, ServerSession

__all__ = ["ConsulServer", "open_consul"]

_SLACK = 5.0  # seconds that the answer of a long poll may be late


class ConsulServer(Server):
    """Consul as one linearizable server.

    Attributes:
        index: of the last write, for all keys together.
        lock_delay: seconds, of the sessions that are opened here.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        # Consul promises one ttl, and usually takes two.
        super().__init__(world, rng, 1.0, 2.0)
        self.index = 10
        self.lock_delay = rng.choice([0.0, 0.0, 0.0, 2.0])
        self.records: dict[str, KeyValue] = {}
        self._written = 10  # index of the last write of a key, deletions included
        self._delayed: dict[str, float] = {}
        self._before: dict[str, KeyValue] = {}

    def new_id(self, number: int) -> str:
        return f"00000000-0000-0000-0000-{number:012d}"

    # -- transactions ------------------------------------------------------------------------

    def txn(self, operations: tuple[Operation, ...]) -> list[KeyValue]:
        """Do all operations or none; raises `TxnConflict`."""
        self._before = dict(self.records)
        self.index += 1
        done: list[KeyValue] = []
        try:
            for step, one in enumerate(operations):
                done += self._do(step, one)
        except TxnConflict:
            self.records = self._before
            raise
        for one in operations:
            if one["Verb"] == "lock" and one["Key"] == KEY:
                self.record_claim(base64.b64decode(one["Value"]))
        self.changed()
        return done

    def _do(self, step: int, operation: Operation) -> list[KeyValue]:
        verb, key = operation["Verb"], operation["Key"]
        now = self.records.get(key)
        value = base64.b64decode(operation.get("Value", ""))
        flags = operation.get("Flags", 0)
        match verb:
            case "check-index":
                if now is None or now.modify_index != operation["Index"]:
                    raise TxnConflict(step, f"current modify index does not match for {key!r}")
                return [now._replace(value=b"")]
            case "check-not-exists":
                if now is not None:
                    raise TxnConflict(step, f"key {key!r} exists")
                return []
            case "get":
                if now is None:
                    raise TxnConflict(step, f"key {key!r} doesn't exist")
                return [now]
            case "cas" if operation["Index"] == 0 and now is not None:
                raise TxnConflict(step, f"failed to set key {key!r}, index is stale")
            case "set" | "cas":
                # A write keeps the session, and sets the count of locks back.
                holder = None if now is None else now.session
                return [self._write(key, value, flags, holder, 0)]
            case "lock":
                return [self._lock(step, key, now, value, flags, operation["Session"])]
            case "unlock":
                if now is None or now.session is None or now.session != operation["Session"]:
                    raise TxnConflict(step, f"failed to unlock key {key!r}, lock isn't held")
                return [self._write(key, value, flags, None, now.lock_index)]
            case "delete":
                if self.records.pop(key, None) is not None:
                    self._written = self.index
                return []
        raise AssertionError(verb)

    def _lock(
        self, step: int, key: str, now: KeyValue | None, value: bytes, flags: int, session: str
    ) -> KeyValue:
        if session not in self.sessions:
            raise TxnConflict(step, f'invalid session "{session}"')
        if self._delayed.get(key, 0.0) > self.world.now:
            raise TxnConflict(step, f"failed to lock key {key!r} due to lock delay")
        if now is not None and now.session not in {None, session}:
            raise TxnConflict(step, f"failed to lock key {key!r}, lock is already held")
        lock_index = 1 if now is None else now.lock_index + (now.session is None)
        self.sessions[session].keys.add(key)
        return self._write(key, value, flags, session, lock_index)

    def _write(
        self, key: str, value: bytes, flags: int, session: str | None, lock_index: int
    ) -> KeyValue:
        now = self.records.get(key)
        create_index = self.index if now is None else now.create_index
        record = KeyValue(key, value, flags, session, create_index, self.index, lock_index)
        if now is not None and record._replace(modify_index=now.modify_index) == now:
            record = now  # nothing changes, so the index stays
        else:
            self._written = self.index
        self.records[key] = record
        return record._replace(value=b"")

    # -- reads and sessions ------------------------------------------------------------------

    def read(self, key: str) -> KeyValue | None:
        return self.records.get(key)

    def select(self, path: str, *, below: bool) -> tuple[int, list[KeyValue]]:
        """The records there, and the index to wait after."""
        if below:
            found = [one for key, one in sorted(self.records.items()) if key.startswith(path)]
            return self._written, found
        record = self.records.get(path)
        return (self._written, []) if record is None else (record.modify_index, [record])

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
                self._write(key, now.value, now.flags, None, now.lock_index)
                if self.lock_delay:
                    self._delayed[key] = self.world.now + self.lock_delay

    # -- for the checks ----------------------------------------------------------------

    def claims(self) -> list[ServerClaim]:
        now = self.records.get(KEY)
        if now is None or now.session is None:
            return []
        return [ServerClaim(now.value, now.modify_index, now.session)]

    # -- an operator -------------------------------------------------------------------------

    def has_claim_entry(self) -> bool:
        return KEY in self.records

    def delete_first(self) -> None:
        self.index += 1
        self._written = self.index
        del self.records[KEY]
        self.changed()

    def overwrite_first(self) -> None:
        """With a plain put, which leaves the lock; or as `consul lock` does when it exits."""
        now = self.records[KEY]
        self.index += 1
        if self.rng.random() < 0.5:
            self._write(KEY, b"by hand", self.rng.choice([0, now.flags]), now.session, 0)
        else:
            self._write(KEY, now.value, now.flags, None, now.lock_index)
        self.changed()


class _Client:
    """Replacement for `leadership_consul.client.Client`, without HTTP."""

    def __init__(self, options: Options, server: ConsulServer, link: Link) -> None:
        self.options = options
        self._server, self._link = server, link
        link.answers = (TxnConflict,)

    def read(self, key: str) -> KeyValue | None:
        return self._link.call("read", lambda: self._server.read(key))

    def poll(
        self,
        path: str,
        *,
        below: bool,
        index: int = 0,
        wait: float = 0,
        last: object = None,
    ) -> tuple[int, list[KeyValue]]:
        server = self._server

        def hold(reply: Reply) -> None:
            def answer() -> None:
                reply(server.select(path, below=below))

            server.wait(
                lambda: not index or server.select(path, below=below)[0] > index, answer, wait
            )

        limit = (wait + wait / 16 if index > 0 else 0) + _SLACK
        connection = self._link.network.world.current.context.get(1)
        found = self._link.ask(f"poll after {index}", hold, limit, lane=connection)
        return cast("tuple[int, list[KeyValue]]", found)

    def txn(self, *operations: Operation) -> list[KeyValue]:
        verbs = " ".join(f"{one['Verb']} {one.get('Index', '')}".strip() for one in operations)
        return self._link.call(f"txn [{verbs}]", lambda: self._server.txn(operations))

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

    def thread_connection(self) -> SimpleNamespace:
        """The connection of the calling thread, which can be cut."""
        context = self._link.network.world.current.context
        connection: SimpleNamespace | None = context.get(1)
        if connection is None:
            connection = context[1] = SimpleNamespace(close=lambda: None)
            connection.deadline = SimpleNamespace(abort=lambda: self._link.cut(connection))
        return connection

    def close(self) -> None:
        self._link.close()


def open_consul(server: Any, link: Link) -> ConsulStore:
    """A store of the shipped backend on that server."""
    url = StoreURL.parse(f"consul://:none@sim:8500?lock_delay={server.lock_delay:g}")
    CLIENTS.register(link.process, lambda options: _Client(options, server, link))
    return ConsulStore(url)
