"""The store and its sessions, over a state that others may share."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Set as AbstractSet
from typing import Final

from ..default_election import DefaultElection
from ..errors import ConfigurationError, ForkedStore, StoreClosed
from ..fork import inert_in_child
from ..store import ANY, Capability, Change, Election, Entry, Expected, Session
from ..subscription import Subscription
from .state import State

__all__ = ["MemoryStore"]

# From the instant of an expiry to the moment at which the timer thread has told it.
_GRANULARITY = 0.01
_CLOSED = "the memory:// store is closed"


@inert_in_child("renew", "close")
class MemorySession:
    """A session in a `State`; see `leadership_core.store.Session`."""

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
    """A store in this process; see `leadership_core.store.Store`.

    A watch calls back in the thread that made the change, after the change; in the thread
    that watches, with the first state; and in a timer thread when a session has expired.

    Args:
        state: what it holds; stores with the same one see the same.
        prefix: the prefix of the URL it was opened with.
    """

    capabilities: Final[AbstractSet[Capability]] = frozenset(Capability)
    least_margin: Final = 0.0

    def __init__(self, state: State | None = None, prefix: str = "") -> None:
        self.prefix: Final = prefix
        self._state: Final = State() if state is None else state
        self._lock: Final = threading.Lock()
        self._subscriptions: Final[set[Subscription]] = set()
        self._closed: Final = threading.Event()
        self._forked = False

    @property
    def state(self) -> State:
        """The shared state; raises `StoreClosed` and `ForkedStore`."""
        if self._forked:
            raise ForkedStore("the memory:// store belongs to the parent of this process")
        if self._closed.is_set():
            raise StoreClosed(_CLOSED)
        return self._state

    def expires_within(self, ttl: float) -> float:
        return ttl + _GRANULARITY

    def get(self, key: str) -> Entry | None:
        return self.state.get(key)

    def exists(self, key: str) -> bool:
        return self.get(key) is not None

    def list(self, prefix: str) -> list[Entry]:
        return self.state.below(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        holder = None if session is None else session.id
        return self.state.put(key, bytes(value), expect, holder, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.state.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return self.state.delete_below(prefix)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Subscription:
        state = self.state

        def forget(closed: Subscription) -> None:
            state.unwatch(key, tree, closed)
            with self._lock:
                self._subscriptions.discard(closed)

        subscription = Subscription(on_change, forget)
        with self._lock:
            if self._closed.is_set():
                raise StoreClosed(_CLOSED)
            self._subscriptions.add(subscription)
        try:
            state.watch(key, tree, subscription)
            if self._closed.is_set():  # in between: nobody would end it any more
                raise StoreClosed(_CLOSED)
        except BaseException:
            forget(subscription)
            raise
        return subscription

    def open_session(self, ttl: float) -> MemorySession:
        if not (math.isfinite(ttl) and ttl > 0):
            raise ConfigurationError(f"a ttl is a number of seconds above 0, not {ttl!r}")
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
            watching = list(self._subscriptions)
        for subscription in watching:
            subscription.close()

    def after_fork_in_child(self) -> None:
        """Make it inert; the locks of the state may be held for ever in this process."""
        self._forked = True
