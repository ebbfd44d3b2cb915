"""The Consul store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Set as AbstractSet

from leadership_core.errors import ConfigurationError, Conflict, Fenced, StoreUnavailable
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
from .options import Options
from .session import ConsulSession
from .view import Found, Scope
from .watch import Watcher

__all__ = ["ConsulStore"]


class ConsulStore:
    """A Consul; see `leadership_core.store.Store`.

    Its revisions are Consul's modify indexes. Consul leaves an entry alone, index and all, where
    a write would change nothing.

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

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        # Not SESSIONS: when a session ends, Consul unlocks its keys but leaves them there. (One
        # that deletes them would delete the key of an election, too.)
        return frozenset({Capability.GLOBAL_REVISION, Capability.FENCED_WRITES})

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # Consul counts a ttl twice before it acts on it.
        return 2 * ttl + self._options.lock_delay

    def get(self, key: str) -> Entry | None:
        record = self._client.read(key)
        return None if record is None else _entry(record)

    def list(self, prefix: str) -> list[Entry]:
        return [_entry(record) for record in self._client.read_below(_below(prefix))]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        if session is not None:
            raise ConfigurationError(
                "Consul cannot bind an entry to a session so that it goes with it; "
                "ask for Capability.SESSIONS where you need that"
            )
        steps = _check(fence)
        if expect is ANY:
            steps.append(operation("set", key, value=value))
        else:
            index = expect.revision if isinstance(expect, Entry) else 0
            steps.append(operation("cas", key, index=index, value=value))
        try:
            record = self._client.txn(*steps)[-1]
        except TxnRefused as refusal:
            if fence is not None and refusal.step == 0:
                raise Fenced(f"the term with token {fence[1]} is over: {refusal.what}") from refusal
            raise Conflict(f"{key!r} is not as expected: {refusal.what}") from refusal
        return Entry(key, value, record.modified, record.session)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        if expect is ABSENT:
            if self._client.read(key) is not None:
                raise Conflict(f"{key!r} is there")
            return False
        # Both refuse a key that is not there, where "delete" by itself says nothing of it.
        first = (
            operation("check-index", key, index=expect.revision)
            if isinstance(expect, Entry)
            else operation("get", key)
        )
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
                on_change([_entry(record) for record in found])
            else:
                on_change(_entry(found[0]) if found else None)

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

    def __repr__(self) -> str:
        return f"<ConsulStore {self._url}>"


def _below(prefix: str) -> str:
    return f"{prefix}/" if prefix else ""


def _entry(record: Record) -> Entry:
    return Entry(record.key, record.value, record.modified, record.session)


def _check(fence: tuple[str, int] | None) -> list[Operation]:
    return [] if fence is None else [operation("check-index", fence[0], index=fence[1])]
