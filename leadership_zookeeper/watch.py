"""All watches of one store, served by one thread.

A watch of ZooKeeper's says once that something has changed, not what it is now. So each
subscription looks again when one of its watches fires, when the connection is back, and where
it matters from time to time.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

from leadership_core import clock
from leadership_core.budget import budget, remaining_budget
from leadership_core.delivery import WatchDelivery
from leadership_core.errors import StoreClosed, StoreError, StoreUnavailable
from leadership_core.store import Change, Leader
from leadership_core.text import one_line
from leadership_core.threads import start_daemon

from .link import Link
from .nodes import path_of
from .reader import Reader
from .view import EntryView, LeaderView, TreeView, View, Watch

__all__ = ["Watcher"]

log = logging.getLogger(__name__)

_CONFIRM = 15.0  # seconds after which a leader is confirmed although nothing has changed
_CONNECT = 1.0  # seconds until those who wait are told that the store is away
_LOOK = 5.0  # seconds for one look
_CAP = 1.0  # seconds, the longest pause between two tries
_NOTHING: Any = object()


class Subscription:
    """One who wants to know; the watcher's lock guards `stirred` and `due`.

    Args:
        watcher: whose thread looks.
        view_of: makes what looks, of what is told of the nodes that matter.
        on_change: whom to tell.
        confirm: seconds after which to tell although nothing has changed.
    """

    def __init__(
        self,
        watcher: Watcher,
        view_of: Callable[[Watch], View[Any]],
        on_change: Callable[[Any], None],
        confirm: float,
    ) -> None:
        self.stirred: set[str] | None = None  # all of it
        self.due = -math.inf
        self._watcher = watcher
        self._view = view_of(self._hang)
        self._delivery = WatchDelivery(on_change, lambda: watcher.drop(self))
        self._confirm = confirm
        self._told: Any = _NOTHING
        self._told_at = -math.inf
        self._hung: set[str] = set()

    def _hang(self, path: str) -> Callable[[Any], None]:
        bell = self._watcher.bell
        if path not in self._hung:
            self._hung.add(path)
            bell.hang(self.ring, path)
        return bell.fired

    def ring(self, path: str | None, _: bool) -> None:
        """A node has changed, or all may have."""
        self._watcher.stir(self, path)

    def look(self, link: Link, stirred: set[str] | None) -> None:
        """Look, and report what is new; in the watcher's thread."""
        with budget(_LOOK):
            found = self._view.look(link, stirred)
        self._take_down(self._hung.difference(self._view.paths))
        confirmed = clock.now() - self._told_at >= self._confirm
        if confirmed or self._told is _NOTHING or found != self._told:
            self.tell(found)

    def tell(self, found: Any) -> None:
        """Report it; an error only once."""
        if isinstance(found, StoreUnavailable) and isinstance(self._told, StoreUnavailable):
            return
        self._told, self._told_at = found, clock.now()
        self._delivery.publish(found)

    @property
    def wants_confirmation(self) -> bool:
        """Whether it is to be told what is there now, and not what was there lately."""
        first = self._told is _NOTHING
        return first or clock.now() - self._told_at >= self._confirm

    def next_confirmation(self) -> float:
        """When to look again although nothing has changed."""
        return clock.now() + self._confirm

    def _take_down(self, paths: set[str]) -> None:
        self._watcher.bell.take_down(self.ring, *paths)
        self._hung -= paths

    @property
    def closed(self) -> bool:
        """Whether nothing is reported any more."""
        return self._delivery.closed

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()

    def clear(self) -> None:
        """Nothing is of interest any more; in the watcher's thread."""
        self._take_down(set(self._hung))


class Watcher:
    """All watches of one store; safe for several threads."""

    def __init__(self, reader: Reader) -> None:
        self.bell = reader.bell
        self._reader = reader
        self._changed = threading.Condition()
        self._subscriptions: set[Subscription] = set()
        self._dropped: list[Subscription] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._failures = 0
        self._link: Link | None = None  # that was confirmed last

    def watch_entry(self, key: str, on_change: Callable[[Change], None]) -> Subscription:
        """Report what is at a key."""
        return self._begin(lambda watch: EntryView(path_of(key), watch), on_change)

    def watch_tree(self, key: str, on_change: Callable[[Change], None]) -> Subscription:
        """Report what is below a key."""
        return self._begin(lambda watch: TreeView(path_of(key), watch), on_change)

    def watch_leader(
        self, folder: str, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Subscription:
        """Report who leads the election there, and confirm it from time to time."""
        return self._begin(lambda watch: LeaderView(folder, watch), on_change, _CONFIRM)

    def _begin(
        self,
        view_of: Callable[[Watch], View[Any]],
        on_change: Callable[[Any], None],
        confirm: float = math.inf,
    ) -> Subscription:
        subscription = Subscription(self, view_of, on_change, confirm)
        with self._changed:
            if self._closed:
                raise StoreClosed("the ZooKeeper store is closed")
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-zookeeper-watch")
            self._subscriptions.add(subscription)
            self._changed.notify_all()
        return subscription

    def stir(self, subscription: Subscription, path: str | None) -> None:
        """Let it look again."""
        with self._changed:
            if path is None:
                subscription.stirred = None
            elif subscription.stirred is not None:
                subscription.stirred.add(path)
            subscription.due = -math.inf
            self._changed.notify_all()

    def drop(self, subscription: Subscription) -> None:
        """It is closed; the thread clears up what it has left."""
        with self._changed:
            self._subscriptions.discard(subscription)
            self._dropped.append(subscription)
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread, within the budget; may be called again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            subscriptions, thread = list(self._subscriptions), self._thread
        for subscription in subscriptions:
            subscription.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_budget())

    # -- in its thread -------------------------------------------------------------------------

    def _run(self) -> None:
        # What it looks at is no variable of this frame: while the thread waits, it must keep no
        # store alive that the program has dropped.
        while self._serve(self._next()):
            pass

    def _serve(self, found: list[Subscription] | None) -> bool:
        """Let these look; False at the end."""
        if found is None:
            return False
        try:
            link = self._reader.link()
            with budget(_CONNECT):
                link.wait_connected()
        except StoreClosed:
            return False
        except Exception as error:  # noqa: BLE001 - a watch goes on for ever
            self._pause(error)
            return True
        self._failures = 0
        for subscription in self._confirm(found, link):
            self._look(subscription, link)
        return True

    def _confirm(self, due: list[Subscription], link: Link) -> list[Subscription]:
        """Have a majority confirm what is looked at next, where it has to be as new as that.

        Otherwise it is enough that a link is shown nothing older than before.

        Returns:
            Those that can look.
        """
        wanting = [one for one in due if link is not self._link or one.wants_confirmation]
        if not wanting:
            return due
        try:
            with budget(_LOOK):
                link.ask_confirmed("watch")
        except Exception as error:  # noqa: BLE001 - a watch goes on for ever
            for one in wanting:
                self._fail(one, link, error)
            return [one for one in due if one not in wanting]
        self._link = link
        return due

    def _next(self) -> list[Subscription] | None:
        """Wait until somebody has to look; None at the end."""
        with self._changed:
            while not self._closed:
                while self._dropped:
                    self._dropped.pop().clear()
                due = [one for one in self._subscriptions if one.due <= clock.now()]
                if due:
                    return due
                first = min((one.due for one in self._subscriptions), default=math.inf)
                wait = first - clock.now()
                self._changed.wait(None if wait == math.inf else max(0.0, wait))
        return None

    def _look(self, subscription: Subscription, link: Link) -> None:
        with self._changed:
            stirred, subscription.stirred = subscription.stirred, set()
            subscription.due = subscription.next_confirmation()
            if subscription.closed or self._closed:
                return
        try:
            subscription.look(link, stirred)
        except Exception as error:  # noqa: BLE001 - a watch goes on for ever
            self._fail(subscription, link, error)

    def _fail(self, subscription: Subscription, link: Link, error: Exception) -> None:
        self.stir(subscription, None)
        if not link.connected:
            return  # which all will be told if it lasts
        self._tell(subscription, error)
        self._put_off(subscription, _CAP)

    def _pause(self, error: Exception) -> None:
        """Tell everybody that the store is away, and let a moment pass."""
        self._failures += 1
        with self._changed:
            subscriptions = list(self._subscriptions)
        for one in subscriptions:
            self._tell(one, error)
        with self._changed:
            if not self._closed:
                self._changed.wait(min(_CAP, 0.1 * 2.0 ** min(self._failures, 10)))

    def _put_off(self, subscription: Subscription, seconds: float) -> None:
        with self._changed:
            subscription.due = clock.now() + seconds

    def _tell(self, subscription: Subscription, error: Exception) -> None:
        if isinstance(error, StoreClosed):
            return
        if not isinstance(error, StoreUnavailable):
            if not isinstance(error, StoreError):
                log.error("A watch has failed", exc_info=error)
            error = StoreUnavailable(f"a watch has failed: {one_line(error, 200)}")
        subscription.tell(error)
