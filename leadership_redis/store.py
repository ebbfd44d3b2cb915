"""The Redis store: entries, sessions, elections and watches behind one URL."""

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
    ObservedElection,
    Session,
    StoreURL,
    end_observation,
    inert_in_child,
)

from .client import Client
from .election import election_of, expires_within
from .kv import KVEntries
from .options import Options
from .session import RedisSession, Sessions
from .sweep import Sweeper
from .watch import Watcher

__all__ = ["RedisStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class RedisStore:
    """A Redis or a Valkey; thread-safe. See `leadership_core.backend.StoreBackend`.

    Every method that makes a request blocks for `remaining_timeout` at most.

    Args:
        url: ``redis[+tls]://[[user]:password@]host[:port][,host...][/database][/prefix]``, or
            ``redis+sentinel[+tls]://...?service=NAME`` with the Sentinels as hosts.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """

    least_margin: float = 0.0
    expires_by_observation: bool = True

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self.client: Client = Client(self._options)
        self._entries = KVEntries(self.client)
        self._sessions = Sessions(self.client)
        self._sweeper = Sweeper(self.client, self._sessions)
        self._watcher = Watcher(self.client, self._entries)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        return expires_within(ttl)

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
        return self._entries.put(key, value, expect, session, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._entries.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return self._entries.delete_tree(prefix)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._watcher.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> RedisSession:
        return self._sessions.open(ttl, self._sweeper.run_if_due)

    def election(self, key: str) -> ObservedElection:
        return election_of(self, key, self._sessions)

    def close(self) -> None:
        self._watcher.close()
        self.client.close()  # before waiting for threads, whose requests it aborts
        end_observation(self._sessions)
        self._watcher.join()

    def after_fork_in_child(self) -> None:
        self.client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<RedisStore {self._url}>"
