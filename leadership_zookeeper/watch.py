"""All watches of one store, served by one thread.

A ZooKeeper watch fires once, and reports that something has changed, but not the new state. So each
subscription reads again when one of its watches fires, when the connection is back, and, where
the age of the state matters, after some time.
See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkWatches.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

from leadership_core.backend import (
    Change,
    Leader,
    StoreClosed,
    StoreError,
    StoreUnavailable,
    WatchDelivery,
    call_timeout,
    clock,
    one_line,
    remaining_timeout,
    start_daemon,
)

from .client import Client
from .nodes import path_of
from .shared_client import SharedClient
from .watch_dispatcher import WatchDispatcher
from .watch_reader import EntryReader, FirstClaim, LeaderReader, TreeReader, WatchPath, WatchReader

__all__ = ["Watcher"]

log: logging.Logger = logging.getLogger(__name__)

_REFRESH_INTERVAL = 15.0  # seconds after which an unchanged leader is read and reported again
_CONNECT_TIMEOUT = 1.0  # seconds until subscribers get an error
_READ_TIMEOUT = 5.0  # seconds for one read
_MAX_BACKOFF = 1.0  # seconds between two attempts
_NOTHING: Any = object()


class Subscription:
    """One watch of a user; the watcher's lock guards `changed` and `due`.

    Args:
        watcher: whose thread reads for it.
        new_reader: creates its reader.
        on_change: called with each change, in the thread of the watcher.
        refresh_interval: seconds after which an unchanged state is reported again.

    Attributes:
        changed: the paths that have changed since the last read; None for all.
        due: when to read again, on `clock.now`.
    """

    def __init__(
        self,
        watcher: Watcher,
        new_reader: Callable[[WatchPath], WatchReader[Any]],
        on_change: Callable[[Any], None],
        refresh_interval: float,
    ) -> None:
        self.changed: set[str] | None = None
        self.due: float = -math.inf
        self._watcher = watcher
        self._reader = new_reader(self.watch_path)
        self._delivery = WatchDelivery(on_change, lambda: watcher.remove(self))
        self._refresh_interval = refresh_interval
        self._last_seen: Any = _NOTHING
        self._reported_at = -math.inf
        self._watched: set[str] = set()

    def watch_path(self, path: str) -> Callable[[Any], None]:
        """Subscribe to a node's changes; see `WatchPath`."""
        dispatcher = self._watcher.dispatcher
        if path not in self._watched:
            self._watched.add(path)
            dispatcher.subscribe(self.on_node_changed, path)
        return dispatcher.on_event

    def on_node_changed(self, path: str | None, _: bool) -> None:
        """A watched node has changed, or all may have."""
        self._watcher.mark_changed(self, path)

    def read(self, client: Client, changed: set[str] | None) -> None:
        """Read the state, and report it if it is new; in the watcher's thread."""
        with call_timeout(_READ_TIMEOUT):
            found = self._reader.read(client, changed)
        self._unsubscribe(self._watched.difference(self._reader.paths))
        if self.needs_refresh or found != self._last_seen:
            self.report(found)

    def report(self, found: Any) -> None:
        """Call the user's callback; with repeated errors only once."""
        if isinstance(found, StoreUnavailable) and isinstance(self._last_seen, StoreUnavailable):
            return
        self._last_seen, self._reported_at = found, clock.now()
        self._delivery.publish(found)

    @property
    def needs_refresh(self) -> bool:
        """Whether the next report has to be as new as its read."""
        first = self._last_seen is _NOTHING
        return first or clock.now() - self._reported_at >= self._refresh_interval

    def next_refresh(self) -> float:
        """When to read again without a change."""
        return clock.now() + self._refresh_interval

    def _unsubscribe(self, paths: set[str]) -> None:
        self._watcher.dispatcher.unsubscribe(self.on_node_changed, *paths)
        self._watched -= paths

    @property
    def closed(self) -> bool:
        """Whether the callback is not called any more."""
        return self._delivery.closed

    def close(self) -> None:
        """Stop calling the callback; see `WatchDelivery.close`."""
        self._delivery.close()

    def clear(self) -> None:
        """Unsubscribe from all nodes; in the watcher's thread."""
        self._unsubscribe(set(self._watched))


class Watcher:
    """All watches of one store, and their thread; thread-safe.

    Args:
        shared_client: of the store.
    """

    def __init__(self, shared_client: SharedClient) -> None:
        self.dispatcher: WatchDispatcher = shared_client.dispatcher
        self._shared_client = shared_client
        self._changed = threading.Condition()
        self._subscriptions: set[Subscription] = set()
        self._removed: list[Subscription] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._failures = 0
        self._confirmed_client: Client | None = None  # whose state was confirmed by a quorum check

    def watch_entry(self, key: str, on_change: Callable[[Change], None]) -> Subscription:
        """Report the entry of a key, now and after each change."""
        return self._begin(lambda watch: EntryReader(path_of(key), watch), on_change)

    def watch_tree(self, key: str, on_change: Callable[[Change], None]) -> Subscription:
        """Report the entries below a key, now and after each change."""
        return self._begin(lambda watch: TreeReader(path_of(key), watch), on_change)

    def watch_leader(
        self,
        folder: str,
        first_claim: FirstClaim,
        on_change: Callable[[Leader | StoreUnavailable | None], None],
    ) -> Subscription:
        """Report the leader of an election, now, after each change, and every 15 seconds."""
        return self._begin(
            lambda watch: LeaderReader(folder, first_claim, watch), on_change, _REFRESH_INTERVAL
        )

    def _begin(
        self,
        new_reader: Callable[[WatchPath], WatchReader[Any]],
        on_change: Callable[[Any], None],
        refresh_interval: float = math.inf,
    ) -> Subscription:
        subscription = Subscription(self, new_reader, on_change, refresh_interval)
        with self._changed:
            if self._closed:
                raise StoreClosed("the ZooKeeper store is closed")
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-zookeeper-watch")
            self._subscriptions.add(subscription)
            self._changed.notify_all()
        return subscription

    def mark_changed(self, subscription: Subscription, path: str | None) -> None:
        """Have a subscription read again: one path, or all."""
        with self._changed:
            if path is None:
                subscription.changed = None
            elif subscription.changed is not None:
                subscription.changed.add(path)
            subscription.due = -math.inf
            self._changed.notify_all()

    def remove(self, subscription: Subscription) -> None:
        """Remove a closed subscription; the thread unsubscribes it from its nodes."""
        with self._changed:
            self._subscriptions.discard(subscription)
            self._removed.append(subscription)
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread, within the remaining timeout; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            subscriptions, thread = list(self._subscriptions), self._thread
        for subscription in subscriptions:
            subscription.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    # -- in its thread -------------------------------------------------------------------------

    def _run(self) -> None:
        # The subscriptions are no variable of this frame: while the thread waits, it must not keep
        # a store alive that the program has dropped.
        while self._serve(self._next()):
            pass

    def _serve(self, due: list[Subscription] | None) -> bool:
        """Have these read; returns False at the end."""
        if due is None:
            return False
        try:
            client = self._shared_client.current()
            with call_timeout(_CONNECT_TIMEOUT):
                client.wait_connected()
        except StoreClosed:
            return False
        except Exception as error:  # noqa: BLE001 - watches continue after any error
            self._failures += 1
            with self._changed:
                subscriptions = list(self._subscriptions)
            for one in subscriptions:
                self._report_error(one, error)
            with self._changed:
                if not self._closed:
                    self._changed.wait(min(_MAX_BACKOFF, 0.1 * 2.0 ** min(self._failures, 10)))
            return True
        self._failures = 0
        for subscription in self._confirm(due, client):
            with self._changed:
                changed, subscription.changed = subscription.changed, set()
                subscription.due = subscription.next_refresh()
                if subscription.closed or self._closed:
                    continue
            try:
                subscription.read(client, changed)
            except Exception as error:  # noqa: BLE001 - watches continue after any error
                self._retry_later(subscription, client, error)
        return True

    def _confirm(self, due: list[Subscription], client: Client) -> list[Subscription]:
        """Send a quorum check if one of the next reads has to be as new as its call.

        For the others it suffices that a client never observes an older state than before.

        Returns:
            The subscriptions that can read.
        """
        waiting = [one for one in due if client is not self._confirmed_client or one.needs_refresh]
        if not waiting:
            return due
        try:
            with call_timeout(_READ_TIMEOUT):
                client.request_linearizable("watch")
        except Exception as error:  # noqa: BLE001 - watches continue after any error
            for one in waiting:
                self._retry_later(one, client, error)
            return [one for one in due if one not in waiting]
        self._confirmed_client = client
        return due

    def _next(self) -> list[Subscription] | None:
        """Block until a subscription has to read; None at the end."""
        with self._changed:
            while not self._closed:
                while self._removed:
                    self._removed.pop().clear()
                due = [one for one in self._subscriptions if one.due <= clock.now()]
                if due:
                    return due
                first = min((one.due for one in self._subscriptions), default=math.inf)
                wait = first - clock.now()
                self._changed.wait(None if wait == math.inf else max(0.0, wait))
        return None

    def _retry_later(self, subscription: Subscription, client: Client, error: Exception) -> None:
        self.mark_changed(subscription, None)
        if not client.connected:
            return  # a lasting outage is reported to all
        self._report_error(subscription, error)
        with self._changed:
            subscription.due = clock.now() + _MAX_BACKOFF

    def _report_error(self, subscription: Subscription, error: Exception) -> None:
        if isinstance(error, StoreClosed):
            return
        if not isinstance(error, StoreUnavailable):
            if not isinstance(error, StoreError):
                log.error("A watch has failed", exc_info=error)
            error = StoreUnavailable(f"a watch has failed: {one_line(error, 200)}")
        subscription.report(error)
