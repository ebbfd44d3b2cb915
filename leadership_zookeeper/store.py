"""The ZooKeeper store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Set as AbstractSet

from leadership_core.errors import StoreClosed
from leadership_core.fork import inert_in_child
from leadership_core.store import ANY, Capability, Change, Closable, Entry, Expected, Session
from leadership_core.url import StoreURL

from .election import ZooKeeperElection
from .entries import Entries
from .nodes import Nodes
from .options import Options
from .reader import Reader
from .session import TOUCH_MARGIN, ZooKeeperSession
from .watch import Watcher

__all__ = ["ZooKeeperStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class ZooKeeperStore:
    """A ZooKeeper; see `leadership_core.store.Store`.

    Its revisions are ids of ZooKeeper's transactions. Nobody is contacted before it is asked for
    something.

    Args:
        url: ``zk[+tls]://[user:password@]host[:port][,host...][/chroot][?option=value]``.

    Raises:
        ConfigurationError: the URL does not work.
    """

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self._reader = Reader(self._options)
        self._nodes = Nodes(self._reader, self._options.prefix)
        self._entries = Entries(self._nodes)
        self._watcher = Watcher(self._reader)
        self._lock = threading.Lock()
        self._sessions: list[ZooKeeperSession] = []  # whose threads may be running
        self._closed = False

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        # ZooKeeper compares a version, which begins again with each node, and nothing holds a node
        # that is bound to a session.
        return frozenset(Capability) - {Capability.BOUND_COMPARISONS}

    @property
    def prefix(self) -> str:
        return self._options.prefix

    @property
    def least_margin(self) -> float:
        # What a renewal proves is older than the renewal itself; see `ZooKeeperSession.renew`.
        return self._options.tick * TOUCH_MARGIN

    def expires_within(self, ttl: float) -> float:
        # Sessions are ended at the ends of ticks.
        return ttl + self._options.tick

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._entries.below(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        owner = None if session is None else ZooKeeperSession.of(session)
        return self._entries.put(key, bytes(value), expect=expect, session=owner, fence=fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._entries.delete(key, expect=expect)

    def delete_tree(self, prefix: str) -> int:
        """Delete all that `list` lists, and the folders; returns how many entries that were.

        In one step, unless that would be more than ZooKeeper takes in one.

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
        session = ZooKeeperSession.open(self._options, ttl, self._reader.hear)
        with self._lock:
            closed = self._closed
            self._sessions = [one for one in self._sessions if not one.link.over]
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
            # One that was to be ended has been by now; any other is left to its ttl.
            session.abandon(StoreClosed("the ZooKeeper store is closed"))
        self._reader.close()
        self._watcher.close()

    def __repr__(self) -> str:
        return f"<ZooKeeperStore {self._url}>"
