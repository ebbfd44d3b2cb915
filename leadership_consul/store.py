"""The Consul store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Set as AbstractSet
from dataclasses import replace

from leadership_core.errors import Conflict, Fenced, NotDone, SessionLost, StoreUnavailable
from leadership_core.store import (
    ABSENT,
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Session,
)
from leadership_core.url import StoreURL

from .client import Client, Operation, Record, TxnRefused, operation
from .election import ConsulElection
from .errors import session_is_gone
from .options import Options
from .session import ConsulSession
from .view import Found, Scope
from .watch import Watcher

__all__ = ["ConsulStore"]


class ConsulStore:
    """A Consul; see `leadership_core.store.Store`.

    Its revisions are Consul's modify indexes.

    Args:
        url: ``consul[+tls]://[:token@]host[:port][,host...][/prefix][?option=value]``.

    Raises:
        ConfigurationError: the URL does not work; nobody was contacted.
    """

    least_margin = 0.0

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self._client = Client(self._options)
        self._watcher = Watcher(self._client)
        self._lock = threading.Lock()
        self._elections: dict[str, ConsulElection] = {}
        # By the id of what their entries are bound to, which users do not know.
        self._sessions: weakref.WeakValueDictionary[str, ConsulSession] = (
            weakref.WeakValueDictionary()
        )

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # Consul counts a ttl twice before it acts on it.
        return 2 * ttl + self._options.lock_delay

    def get(self, key: str) -> Entry | None:
        record = self._client.read(key)
        return None if record is None else self._entry(record)

    def list(self, prefix: str) -> list[Entry]:
        return [self._entry(record) for record in self._client.read_below(_below(prefix))]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        write = operation("set", key, value=value)
        if session is not None:
            bound = ConsulSession.of(session)
            holder = bound.companion()
            self._sessions[holder] = bound
            write = operation("lock", key, value=value, session=holder)
        fences = [] if fence is None else [operation("check-index", fence[0], index=fence[1])]
        guards = [] if expect is ANY else [_guard(key, expect)]
        try:
            # "set" leaves an entry bound to its session, "lock" refuses one of another session, and
            # Consul leaves the index alone where nothing would change. Made anew, the entry is
            # bound to what it is to be bound to, and its index is new.
            steps = [*fences, *guards, operation("delete", key), write]
            record = self._client.txn(*steps)[-1]
        except TxnRefused as refusal:
            if session_is_gone(refusal.what):
                raise SessionLost("Consul has ended the session") from refusal
            if fence is not None and refusal.step == 0:
                raise Fenced(f"the term with token {fence[1]} is over: {refusal.what}") from refusal
            if guards and refusal.step == len(fences):
                raise Conflict(f"{key!r} is not as expected: {refusal.what}") from refusal
            # Somebody has lost a lock of that key, whose lock delay (not ours) is not over.
            raise NotDone(f"cannot write {key!r}: {refusal.what}") from refusal
        return self._entry(replace(record, value=value))

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        if expect is ABSENT:
            if self._client.read(key) is not None:
                raise Conflict(f"{key!r} is there")
            return False
        # Both refuse a key that is not there, where "delete" by itself says nothing of it.
        first = operation("get", key) if expect is ANY else _guard(key, expect)
        try:
            self._client.txn(first, operation("delete", key))
        except TxnRefused as refusal:
            if "exist" in refusal.what:
                return False
            raise Conflict(f"{key!r} is not as expected: {refusal.what}") from refusal
        return True

    def delete_tree(self, prefix: str) -> int:
        # Both in one transaction, so that what is counted is what is deleted, locked or not.
        path = _below(prefix)
        return len(self._client.txn(operation("get-tree", path), operation("delete-tree", path)))

    def watch(
        self,
        key: str,
        on_change: Callable[[Change], None],
        *,
        tree: bool = False,
    ) -> Closable:
        def look(found: Found, _: bool) -> None:
            if isinstance(found, StoreUnavailable):
                on_change(found)
            elif tree:
                on_change([self._entry(record) for record in found])
            else:
                on_change(self._entry(found[0]) if found else None)

        scope = Scope(_below(key), below=True) if tree else Scope(key)
        return self._watcher.subscribe(scope, look)

    def open_session(self, ttl: float) -> ConsulSession:
        return ConsulSession.open(self._client, ttl)

    def election(self, key: str) -> ConsulElection:
        with self._lock:
            if key not in self._elections:
                self._elections[key] = ConsulElection(self._client, self._watcher, key)
            return self._elections[key]

    def close(self) -> None:
        self._watcher.close()
        self._client.close()

    def _entry(self, record: Record) -> Entry:
        session = None if record.session is None else self._sessions.get(record.session)
        holder = record.session if session is None else session.id
        return Entry(record.key, record.value, record.modified, holder)

    def __repr__(self) -> str:
        return f"<ConsulStore {self._url}>"


def _below(prefix: str) -> str:
    return f"{prefix}/" if prefix else ""


def _guard(key: str, expect: Expected) -> Operation:
    if isinstance(expect, Entry):
        return operation("check-index", key, index=expect.revision)
    return operation("check-not-exists", key)
