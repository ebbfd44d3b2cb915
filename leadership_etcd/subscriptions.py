"""Subscriptions to an entry, a tree of entries or a leader: read once, then kept current by events."""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from leadership_core.backend import (
    Change,
    Entry,
    Leader,
    RateLimiter,
    StoreClosed,
    StoreUnavailable,
    WatchDelivery,
)

from .claim import CandidateQueue, has_claim_name
from .client import Client
from .delayed import DelayedTasks
from .kv import entry_of, read_entry, read_tree
from .rpc import KeyValue, WatchEvent, encode_key, prefix_range
from .watch import Watcher
from .watch_stream import Watch

__all__ = ["EntrySubscription", "LeaderSubscription", "TreeSubscription", "leader_of"]

log: logging.Logger = logging.getLogger(__name__)

_MAX_BACKOFF = 2.0  # seconds

_KeyRange = tuple[bytes, bytes]


class _Subscription(ABC):
    """A state that is read, and then watched from the revision of that read on.

    One thread at a time works on it: that of the delayed tasks until it has read the state and
    begun to watch, then that of the watcher until the state has to be read again.

    Args:
        watcher: of the store.
        delayed: of the store; reads the state.
        on_change: the user's callback.

    Raises:
        StoreClosed: the store was closed.
    """

    def __init__(
        self, watcher: Watcher, delayed: DelayedTasks, on_change: Callable[[Any], None]
    ) -> None:
        self._watcher = watcher
        self._delayed = delayed
        self._delivery = WatchDelivery(on_change, self._stop_watching)
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._failures = 0
        self._read_limiter = RateLimiter()  # however many changes and gaps the watch reports
        watcher.add_delivery(self._delivery)
        delayed.call_later(0.0, self._refresh)

    never_waits = False  # the callback is the user's

    @abstractmethod
    def _read(self) -> tuple[Any, int, _KeyRange]:
        """The state, the revision as of which it is valid, and the keys to watch."""

    @abstractmethod
    def on_events(self, events: Sequence[WatchEvent]) -> None: ...

    def close(self) -> None:
        """End the calls of the callback; see `WatchDelivery.close`."""
        self._delivery.close()

    def on_unavailable(self, error: StoreUnavailable) -> None:
        self._delivery.publish(error)

    def on_recovered(self) -> None:
        self.on_gap()  # the next call has to report the present state, not an earlier one

    def on_gap(self) -> None:
        self._stop_watching()
        self._delayed.call_later(self._read_limiter.delay(), self._refresh)

    def _refresh(self) -> None:
        """Read the state, report it, and watch it from then on."""
        self._stop_watching()  # two gaps may have asked for this, one after the other
        try:
            if self._delivery.closed:
                return
            self._read_limiter.consume()
            state, revision, (key, end) = self._read()
            self._failures = 0
            self._delivery.publish(state)
            # The first event may come, and ask for another refresh, before `open` has returned:
            # with the lock, that refresh finds the watch that it has to close.
            with self._lock:
                if not self._delivery.closed:
                    self._watch = self._watcher.open(key, end, revision, self)
        except StoreClosed:
            pass
        except StoreUnavailable as error:
            self._retry(error)
        except Exception as error:  # the watch goes on after any error
            log.exception("A watch has failed")
            self._retry(StoreUnavailable(f"a watch has failed: {error!r}"))

    def _retry(self, error: StoreUnavailable) -> None:
        self._delivery.publish(error)
        self._failures += 1
        backoff = min(_MAX_BACKOFF, 0.05 * 2.0 ** min(self._failures, 10))
        self._delayed.call_later(random.uniform(0, backoff), self._refresh)

    def _stop_watching(self) -> None:
        with self._lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


class EntrySubscription(_Subscription):
    """The entry at a key.

    Args:
        client, watcher, delayed: of the store.
        key: of the entry.
        on_change: called with the entry, None if there is none, or a `StoreUnavailable`.
    """

    def __init__(
        self,
        client: Client,
        watcher: Watcher,
        delayed: DelayedTasks,
        key: str,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._key = key
        super().__init__(watcher, delayed, on_change)

    def _read(self) -> tuple[Entry | None, int, _KeyRange]:
        entry, revision = read_entry(self._client, self._key)
        return entry, revision, (encode_key(self._key), b"")

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        last = events[-1]
        self._delivery.publish(None if last.deleted else entry_of(last.kv))


class TreeSubscription(_Subscription):
    """All entries below a prefix.

    Args:
        client, watcher, delayed: of the store.
        prefix: of the entries.
        on_change: called with the list of the entries, or a `StoreUnavailable`.
    """

    def __init__(
        self,
        client: Client,
        watcher: Watcher,
        delayed: DelayedTasks,
        prefix: str,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._entries: dict[bytes, Entry] = {}
        super().__init__(watcher, delayed, on_change)

    def _read(self) -> tuple[list[Entry], int, _KeyRange]:
        entries, revision = read_tree(self._client, self._prefix)
        self._entries = {encode_key(entry.key): entry for entry in entries}
        return entries, revision, prefix_range(self._prefix)

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.deleted:
                self._entries.pop(event.kv.key, None)
            else:
                self._entries[event.kv.key] = entry_of(event.kv)
        self._delivery.publish([entry for _, entry in sorted(self._entries.items())])


class LeaderSubscription(_Subscription):
    """The leader of an election.

    It watches the leader's key alone, and all claims only while there is no leader. So candidates
    that enter and leave the queue behind the leader cause no traffic here.

    Args:
        watcher, delayed: of the store.
        key: of the election.
        queue: of the election.
        on_change: called with the leader, None if there is none, or a `StoreUnavailable`.
    """

    def __init__(
        self,
        watcher: Watcher,
        delayed: DelayedTasks,
        key: str,
        queue: CandidateQueue,
        on_change: Callable[[Leader | StoreUnavailable | None], None],
    ) -> None:
        self._key = key
        self._queue = queue
        self._has_leader = False
        super().__init__(watcher, delayed, on_change)

    def _read(self) -> tuple[Leader | None, int, _KeyRange]:
        first, revision = self._queue.first()
        self._has_leader = first is not None
        keys = prefix_range(self._key) if first is None else (first.key, b"")
        return leader_of(first), revision, keys

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        # An event may lack the lease, so a key with the name of a claim is read before it counts.
        if self._has_leader or any(
            not event.deleted and has_claim_name(self._key, event.kv.key) for event in events
        ):
            self.on_gap()


def leader_of(kv: KeyValue | None) -> Leader | None:
    """The leader whose claim this is."""
    return None if kv is None else Leader.of(kv.value, kv.create_revision)
