"""The memory store and its sessions, over a `State` that other stores may share."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Set as AbstractSet
from typing import Final

from ...backend.default_election import DefaultElection
from ...backend.entries import ANY, Change, Entry, Expected
from ...backend.fence import Fence
from ...backend.fork import inert_in_child
from ...backend.protocols import Capability, Election, Session
from ...backend.watches import WatchDelivery
from ...errors import ConfigurationError, ForkedStore, StoreClosed
from .state import State

__all__ = ["MemoryStore"]

# Seconds from the expiry of a session until the timer thread has removed its entries.
_EXPIRY_DELAY = 0.01
_CLOSED = "the memory:// store is closed"


@inert_in_child("renew", "close")
class MemorySession:
    """A session in a `State`; see `leadership_core.backend.protocols.Session`."""

    def __init__(self, store: MemoryStore, ttl: float) -> None:
        self.id: Final = uuid.uuid4().hex
        self.ttl: Final = ttl
        self._store: Final = store

    def renew(self) -> float:
        return self._store.state.renew(self.id)

    def close(self) -> None:
        self._store.state.close_session(self.id)


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class MemoryStore:
    """A store in this process; see `leadership_core.backend.protocols.StoreBackend`.

    A watch delivers the first state in the thread that calls `watch`, a change in the thread that
    makes it, and an expiry in a timer thread. No call blocks for longer than other calls work.

    Args:
        state: holds the content; stores with the same state have the same content. By default a
            private one.
        prefix: the prefix of the URL that the store was opened with.

    Attributes:
        time_source: the clock of the sessions, on which the engine runs, too.
    """

    capabilities: Final[AbstractSet[Capability]] = frozenset(Capability)
    least_margin: Final = 0.0

    def __init__(self, state: State | None = None, prefix: str = "") -> None:
        self.prefix: Final = prefix
        self._state: Final = State() if state is None else state
        self._lock: Final = threading.Lock()
        self._watches: Final[set[WatchDelivery[Change]]] = set()
        self._closed: Final = threading.Event()
        self._forked = False
        self.time_source: Final = self._state.time_source
        self._state.stores.add(self)

    @property
    def state(self) -> State:
        """The shared state; raises `StoreClosed` and `ForkedStore`."""
        if self._forked:
            raise ForkedStore("the memory:// store belongs to the parent of this process")
        if self._closed.is_set():
            raise StoreClosed(_CLOSED)
        return self._state

    def expires_within(self, ttl: float) -> float:
        return ttl + _EXPIRY_DELAY

    def get(self, key: str) -> Entry | None:
        return self.state.get(key)

    def exists(self, key: str) -> bool:
        return self.get(key) is not None

    def list(self, prefix: str) -> list[Entry]:
        return self.state.subtree(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        holder = None if session is None else session.id
        return self.state.put(key, bytes(value), expect, holder, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.state.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return self.state.delete_subtree(prefix)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> WatchDelivery[Change]:
        state = self.state

        def forget() -> None:
            state.unwatch(key, tree, watch)
            with self._lock:
                self._watches.discard(watch)

        watch = WatchDelivery(on_change, forget)
        with self._lock:
            if self._closed.is_set():
                raise StoreClosed(_CLOSED)
            self._watches.add(watch)
        try:
            state.watch(key, tree, watch)
            if self._closed.is_set():  # meanwhile: `close` has missed it
                raise StoreClosed(_CLOSED)
        except BaseException:
            forget()
            raise
        return watch

    def open_session(self, ttl: float) -> MemorySession:
        if not (math.isfinite(ttl) and ttl > 0):
            raise ConfigurationError(f"ttl must be a number of seconds above 0, not {ttl!r}")
        session = MemorySession(self, float(ttl))
        self.state.open_session(session.id, session.ttl)
        return session

    def election(self, key: str) -> Election:
        return DefaultElection(self, key)

    def close(self) -> None:
        if self._forked:
            return
        with self._lock:
            self._closed.set()
            self._state.stores.discard(self)
            watching = list(self._watches)
        for watch in watching:
            watch.close()

    def after_fork_in_child(self) -> None:
        """Make it inert: the locks of the state may have been held at the fork, and stay held."""
        self._forked = True
