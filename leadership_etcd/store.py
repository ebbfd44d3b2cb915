"""The etcd store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

import math
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
    inert_in_child,
)

from .client import Client
from .delayed import DelayedTasks
from .election import EtcdElection
from .kv import KV
from .options import Options
from .session import EtcdSession
from .subscriptions import EntrySubscription, TreeSubscription
from .watch import Watcher

__all__ = ["EtcdStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class EtcdStore:
    """An etcd; thread-safe. See `leadership_core.backend.protocols.StoreBackend`.

    Its revisions are etcd's, which count the writes of the whole cluster. Reads are linearizable:
    https://etcd.io/docs/v3.5/learning/api_guarantees/

    Args:
        url: ``etcd[+tls]://[user:password@]host[:port][,host...][/prefix][?option=value]``.

    Raises:
        ConfigurationError: the URL cannot work; no server was contacted.
    """

    least_margin: float = 0.0

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self.client: Client = Client(self._options)
        self._delayed = DelayedTasks()
        self.watcher: Watcher = Watcher(self.client, self._delayed)
        self._kv = KV(self.client)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # etcd counts whole seconds, and checks every half second which leases have expired. (If it
        # elects a new leader of its members just then, it starts to count again.)
        return math.ceil(ttl) + 0.5

    def get(self, key: str) -> Entry | None:
        return self._kv.get(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._kv.list(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        return self._kv.put(key, value, expect, session, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._kv.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return self._kv.delete_tree(prefix)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        subscription = TreeSubscription if tree else EntrySubscription
        return subscription(self.client, self.watcher, self._delayed, key, on_change)

    def open_session(self, ttl: float) -> EtcdSession:
        return EtcdSession.open(self.client, ttl)

    def election(self, key: str) -> EtcdElection:
        return EtcdElection(self.client, self.watcher, self._delayed, key)

    def close(self) -> None:
        self.watcher.close()
        self._delayed.close()
        self.client.close()
        self.watcher.join()
        self._delayed.join()

    def after_fork_in_child(self) -> None:
        self.client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<EtcdStore {self._url}>"
