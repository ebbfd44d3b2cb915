"""The PostgreSQL store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet

from leadership_core.backend import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Fence,
    Session,
    StoreURL,
    end_observation,
    inert_in_child,
    observed_within,
    refuse_eventlet,
    single_timeout,
)

from .client import Client
from .election import PostgresElection
from .kv import KVEntries
from .options import Options
from .session import Heartbeats, PostgresSession
from .watch import Watcher

__all__ = ["PostgresStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class PostgresStore:
    """A schema of a PostgreSQL database; thread-safe. See `leadership_core.backend.StoreBackend`.

    The revision of an entry is a value of a sequence. Every method that makes a request blocks for
    `remaining_timeout` at most.

    Args:
        url: ``postgresql[+tls]://user[:password]@host[:port][,host...]/database[?option=value]``.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """

    least_margin: float = 0.0
    expires_by_observation: bool = True

    def __init__(self, url: StoreURL) -> None:
        refuse_eventlet("postgresql://", "it waits with select.poll, which eventlet takes away")
        self._url = url
        self._options = Options.read(url)
        self.client: Client = Client(self._options)
        self.heartbeats: Heartbeats = Heartbeats(self.client)
        self._entries = KVEntries(self.client)
        self._watcher = Watcher(self.client, self._entries)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        return observed_within(ttl)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._entries.list_below(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        entry = self._entries.put(key, value, expect, session, fence)
        self._watcher.touch(key)
        return entry

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        deleted = self._entries.delete(key, expect)
        self._watcher.touch(key)
        return deleted

    def delete_tree(self, prefix: str) -> int:
        count = self._entries.delete_tree(prefix)
        self._watcher.touch(None)
        return count

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._watcher.subscribe(key, on_change, tree=tree)

    @single_timeout()
    def open_session(self, ttl: float) -> PostgresSession:
        session = PostgresSession.open(self.client, ttl)
        self.heartbeats.sweep()
        return session

    def election(self, key: str) -> PostgresElection:
        return PostgresElection(self, key, self.heartbeats)

    def close(self) -> None:
        end_observation(self.heartbeats)
        self._watcher.close()
        self.client.close()

    def after_fork_in_child(self) -> None:
        self._watcher.after_fork_in_child()
        self.client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<PostgresStore {self._url}>"
