"""The ZooKeeper store: entries, sessions, elections and watches of one URL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Set as AbstractSet
from dataclasses import dataclass

from leadership_core.backend import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Fence,
    Session,
    StoreClosed,
    StoreURL,
    inert_in_child,
)

from .client import Client
from .election import ZooKeeperElection
from .kv import Entries
from .nodes import NodeReader
from .options import Options
from .session import HEARTBEAT_MARGIN, ZooKeeperSession
from .shared_client import SharedClient
from .watch import Watcher

__all__ = ["StoreState", "ZooKeeperStore"]


@dataclass(frozen=True, slots=True)
class StoreState:
    """Internal state of a store, for tests and debugging.

    Attributes:
        client: the client of all requests that belong to no session.
        watched_paths: the nodes that are watched with it.
    """

    client: Client
    watched_paths: frozenset[str]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class ZooKeeperStore:
    """A ZooKeeper ensemble; see `leadership_core.backend.protocols.StoreBackend`. Thread-safe.

    Revisions are ids of ZooKeeper's transactions. No server is contacted before the first request.

    Args:
        url: ``zk[+tls]://[user:password@]host[:port][,host...][/chroot][?option=value]``.

    Raises:
        ConfigurationError: the URL is invalid, or a file that it names cannot be used.
    """

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self._shared_client = SharedClient(self._options)
        self._nodes = NodeReader(self._shared_client, self._options.prefix, self._options.recipe)
        self._entries = Entries(self._nodes)
        self._watcher = Watcher(self._shared_client)
        self._lock = threading.Lock()
        self._sessions: list[ZooKeeperSession] = []  # whose threads may be running
        self._closed = False

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        # ZooKeeper compares only versions, which start at 0 again with each node, and an ephemeral
        # node cannot be pinned.
        return frozenset(Capability) - {Capability.BOUND_COMPARISONS}

    @property
    def prefix(self) -> str:
        return self._options.prefix

    @property
    def least_margin(self) -> float:
        # A renewal proves only an earlier moment; see `ZooKeeperSession.renew`.
        return self._options.tick * HEARTBEAT_MARGIN

    def expires_within(self, ttl: float) -> float:
        # Servers expire sessions at the ends of ticks.
        return ttl + self._options.tick

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
        owner = None if session is None else ZooKeeperSession.of(session)
        return self._entries.put(key, bytes(value), expect=expect, session=owner, fence=fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._entries.delete(key, expect=expect)

    def delete_tree(self, prefix: str) -> int:
        """Delete all entries that `list` returns, and their folders; returns their number.

        In one transaction, unless that would exceed ZooKeeper's limit.

        Raises:
            StoreUnavailable: no answer; some may have been deleted.
        """
        return self._entries.delete_tree(prefix)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        begin = self._watcher.watch_tree if tree else self._watcher.watch_entry
        return begin(key, on_change)

    def open_session(self, ttl: float) -> ZooKeeperSession:
        """Open a session with a client and a thread of its own.

        Args:
            ttl: requested, in seconds; the servers grant 2 to 20 ticks unless configured otherwise.

        Raises:
            ConfigurationError: the ttl is too short, or the installed kazoo is not supported.
            StoreUnavailable: no answer within the remaining timeout.
            StoreClosed: the store was closed.
        """
        session = ZooKeeperSession.open(self._options, ttl, self._shared_client.ping)
        with self._lock:
            closed = self._closed
            self._sessions = [one for one in self._sessions if not one.client.closed]
            self._sessions.append(session)
        if closed:
            session.abandon()
            raise StoreClosed("the ZooKeeper store is closed")
        return session

    def election(self, key: str) -> ZooKeeperElection:
        return ZooKeeperElection(self._nodes, self._watcher, key)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sessions = list(self._sessions)
        for session in sessions:
            # A session that was to be ended has ended; the others are left to expire.
            session.abandon(StoreClosed("the ZooKeeper store is closed"))
        self._shared_client.close()
        self._watcher.close()

    def debug_state(self) -> StoreState:
        """Internal state, for tests and debugging."""
        return StoreState(self._shared_client.current(), self._shared_client.dispatcher.paths)

    def __repr__(self) -> str:
        return f"<ZooKeeperStore {self._url}>"
