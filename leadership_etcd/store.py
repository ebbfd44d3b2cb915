"""The etcd store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

import math
from collections.abc import Callable, Set as AbstractSet

from leadership_core.fork import inert_in_child
from leadership_core.store import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Session,
)
from leadership_core.url import StoreURL

from .client import Client
from .election import EtcdElection
from .entries import entry_of, read_below
from .errands import Errands
from .messages import below, delete, encode, read
from .methods import DELETE, RANGE
from .options import Options
from .session import EtcdSession
from .views import EntryView, TreeView
from .watcher import Watcher
from .writes import Writes

__all__ = ["EtcdStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class EtcdStore:
    """An etcd; see `leadership_core.store.Store`.

    Its revisions are etcd's, which count the writes of the whole cluster.

    Args:
        url: ``etcd[+tls]://[user:password@]host[:port][,host...][/prefix][?option=value]``.

    Raises:
        ConfigurationError: the URL does not work; nobody was contacted.
    """

    least_margin = 0.0

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self._client = Client(self._options)
        self._errands = Errands()
        self._watcher = Watcher(self._client, self._errands)
        self._writes = Writes(self._client)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # etcd counts whole seconds, and looks every half second for what has expired. (When it
        # elects a new leader of its own just then, it counts anew.)
        return math.ceil(ttl) + 0.5

    def get(self, key: str) -> Entry | None:
        found = self._client.call(RANGE, read(encode(key)))
        return entry_of(found.kvs[0]) if found.kvs else None

    def list(self, prefix: str) -> list[Entry]:
        return [entry_of(kv) for kv in read_below(self._client, prefix)[0]]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        return self._writes.put(key, value, expect, session, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._writes.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return int(self._client.call(DELETE, delete(*below(prefix))).deleted)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        view = TreeView if tree else EntryView
        return view(self._client, self._watcher, self._errands, key, on_change)

    def open_session(self, ttl: float) -> EtcdSession:
        return EtcdSession.open(self._client, ttl)

    def election(self, key: str) -> EtcdElection:
        return EtcdElection(self._client, self._watcher, self._errands, key)

    def close(self) -> None:
        self._watcher.close()
        self._errands.close()
        self._client.close()
        self._watcher.join()
        self._errands.join()

    def after_fork_in_child(self) -> None:
        self._client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<EtcdStore {self._url}>"
