"""One watch of a key or a tree: what it has reported, and whether a snapshot shows a change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from leadership_core.backend import RateLimiter, StoreUnavailable, WatchDelivery, clock

from .client import KeyValue

__all__ = ["Found", "Snapshot", "Spare", "Subscription", "WatchCallback", "WatchScope"]

_CONFIRM_INTERVAL = 15.0  # seconds
_MAX_WAIT, _MIN_WAIT = 10.0, 1.0  # seconds that an agent may wait for a change
_ENTRY_RATE, _ENTRY_BURST = 20.0, 20.0  # reads per second for the watch of an entry

Found = tuple[KeyValue, ...] | StoreUnavailable
WatchCallback = Callable[[Found, bool], None]
"""Called with the pairs in a scope, and with whether the store was unavailable before."""

Spare = Callable[[], float]
"""Returns how many requests the rate limit has to leave for the callback after a read.

-inf is for a read that is not delayed.
"""


@dataclass(frozen=True, slots=True)
class WatchScope:
    """A key, or with `below` all keys that begin with `path`."""

    path: str
    below: bool = False

    @property
    def folder(self) -> str:
        """All up to the last slash, or nothing for a key that has none."""
        return self.path[: self.path.rfind("/") + 1]

    def covers(self, other: WatchScope) -> bool:
        return self == other or (self.below and other.path.startswith(self.path))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a poll has read at one moment.

    Attributes:
        version: grows with every read of that poll.
        pairs: by key; or the error, if the read failed.
    """

    version: int
    pairs: Mapping[str, KeyValue] | StoreUnavailable

    def select(self, scope: WatchScope) -> Found:
        """The pairs in a scope, or the error."""
        if isinstance(self.pairs, StoreUnavailable):
            return self.pairs
        if not scope.below:
            pair = self.pairs.get(scope.path)
            return () if pair is None else (pair,)
        return tuple(pair for key, pair in sorted(self.pairs.items()) if key.startswith(scope.path))


class Subscription:
    """One watch of a scope.

    Any thread may publish snapshots. The callback is called by one thread at a time, in order,
    with no lock held; a snapshot that is older than the last one is dropped.

    Args:
        scope: the key, or the keys.
        callback: called with each change.
        on_close: called once, when it is closed.
        confirm: whether to call from time to time although nothing has changed.
        limiter: of the reads; None for that of an entry's watch.
        spare: returns how many requests the limit has to leave for the callback; None for none.
        hurry: whether the next read is made at once, whatever the limiter says.
        ttl: seconds; that of a candidate's session.

    Attributes:
        confirm: as given.
        spare: as given.
        hurry: as given.
        wait: seconds that a blocking query for it may last. A connection that is dead but not
            closed is noticed after that time and a few seconds more. Until then a candidate does
            not learn that it leads, so this must not be longer than it takes to replace a leader.
    """

    def __init__(
        self,
        scope: WatchScope,
        callback: WatchCallback,
        on_close: Callable[[Subscription], None],
        *,
        confirm: bool,
        limiter: RateLimiter | None = None,
        spare: Spare | None = None,
        hurry: bool = False,
        ttl: float = inf,
    ) -> None:
        self.scope = scope
        self.wait: float = max(_MIN_WAIT, min(ttl, _MAX_WAIT))
        self.limiter: RateLimiter = limiter or RateLimiter(_ENTRY_BURST, _ENTRY_RATE)
        self.limiter.add_member()
        self.spare: Spare | None = spare
        self.hurry: bool = hurry
        self.confirm: bool = confirm
        self._lock = threading.Lock()
        self._source: object = None
        self._version = -1
        self._last_seen: object = None
        self._last_call = 0.0
        self._after_outage = False

        def call(snapshot: Snapshot) -> None:
            with self._lock:
                after_outage, self._after_outage = self._after_outage, False
            callback(snapshot.select(scope), after_outage)

        def on_closed() -> None:
            self.limiter.remove_member()
            on_close(self)

        self._delivery = WatchDelivery(call, on_closed)

    def follow(self, source: object) -> None:
        """Take snapshots of this poll only, from now on."""
        with self._lock:
            self._source = source
            self._version = -1

    def publish(self, source: object, snapshot: Snapshot) -> bool:
        """Call the callback if the snapshot shows a change; returns whether it does."""
        with self._lock:
            if source is not self._source or snapshot.version <= self._version:
                return False
            if self._delivery.closed:
                return False
            self._version = snapshot.version
            found = snapshot.select(self.scope)
            if isinstance(found, StoreUnavailable):
                seen: object = StoreUnavailable  # one call for an outage, whatever the errors say
            elif not found:
                # A key may have been created and deleted between two snapshots. An existing key
                # has an index that no other state of it has; a missing one always looks the same.
                seen = snapshot.version
            else:
                seen = [(pair.key, pair.modify_index, pair.session) for pair in found]
            changed = seen != self._last_seen
            due = self.confirm and clock.now() - self._last_call >= _CONFIRM_INTERVAL
            if not (changed or due):
                return False
            if self._last_seen is StoreUnavailable:
                self._after_outage = True
            self._last_seen, self._last_call = seen, clock.now()
            self._delivery.put(snapshot)
        self._delivery.run()
        return changed

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()
