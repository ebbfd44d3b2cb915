"""Watches of entries: notifications say what to read again, and polling finds what they miss."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from math import inf

from leadership_core.backend import (
    Change,
    RateLimiter,
    StoreClosed,
    StoreUnavailable,
    WatchDelivery,
    call_timeout,
    clock,
    join,
    remaining_timeout,
    start_daemon,
)

from .client import Client
from .kv import KVEntries
from .subscription import Subscription

__all__ = ["Watcher"]

log: logging.Logger = logging.getLogger(__name__)

_READ_SECONDS = 2.0  # for a read, so that the thread ends soon after `close`, even if it hangs
_CHECK_INTERVAL = 1.0  # seconds between two requests, which find out that the store is away
_POLL_INTERVAL = 0.5  # seconds between two reads of everything while no notifications arrive
_FULL_INTERVAL = 20.0  # seconds between two reads of everything while they do
_LEAST_DELAY = 0.02  # seconds between two reads because of an expiry
_FIRST_RETRY, _LAST_RETRY = 0.25, 1.0  # seconds
_READ_BURST, _READ_RATE = 20.0, 100.0  # reads at once, and per second after that
_MOST_NAMES = 500  # of one read, during which Redis does nothing else
_NOTHING = object()  # what a new watch has reported


class Watcher:
    """All watches of one store; thread-safe.

    One thread reads, from the first watch on, and another one listens for notifications. What a
    notification costs depends on what has changed, and not on how many watches there are.

    Args:
        client: of the store.
        entries: reads them.
    """

    def __init__(self, client: Client, entries: KVEntries) -> None:
        self._entries = entries
        self._subscription = Subscription(client, self._note)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._ended = threading.Event()
        # A process that takes part in thousands of elections is notified of thousands of changes: then
        # several share a read.
        self._limiter = RateLimiter(_READ_BURST, _READ_RATE)
        # By name, with what each watch has reported.
        self._watched: dict[str, dict[WatchDelivery[Change], object]] = {}
        self._dirty: set[str] = set()  # names to read again, or that are not watched any more
        self._all_dirty = False
        self._thread: threading.Thread | None = None
        self._closed = False
        # Only in the thread: when what was found may end.
        self._due: dict[str, float] = {}

    def add(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool
    ) -> WatchDelivery[Change]:
        """Start a watch; sends no request: the thread delivers the present state.

        Args:
            key: the key, or the prefix if `tree` is true.
            on_change: called in the thread.
            tree: watch what is below the key.

        Raises:
            StoreClosed: the watcher is closed.
            NotApplied: no thread can be started now.
        """
        name = f"{key}/" if tree else key

        def forget() -> None:
            with self._lock:
                watches = self._watched.get(name, {})
                watches.pop(watch, None)
                if not watches:
                    self._watched.pop(name, None)
                    self._dirty.add(name)

        watch = WatchDelivery(on_change, forget)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            if self._thread is None:
                # It cannot read before this block has ended.
                self._thread = start_daemon(self._run, "leadership-redis-watch")
            self._watched.setdefault(name, {})[watch] = _NOTHING
            self._dirty.add(name)
        self._woken.set()
        return watch

    def close(self) -> None:
        """End all watches; the threads end when the client is closed."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            watches = [watch for those in self._watched.values() for watch in those]
        self._subscription.close()
        self._ended.set()
        self._woken.set()
        for watch in watches:
            watch.close()

    def join(self) -> None:
        """Wait within the timeout until the threads have ended."""
        if os.getpid() != self._process:
            return
        if self._thread is not None:
            join(self._thread, remaining_timeout())
        self._subscription.join(remaining_timeout())

    def _note(self, changed: str | None) -> None:
        """Note a notification: of a key or a session, or None for everything."""
        with self._lock:
            if changed is None:
                self._all_dirty = True
            else:
                touched = [name for name in _names_of(changed) if name in self._watched]
                if not touched:
                    return
                self._dirty.update(touched)
        self._woken.set()

    def _run(self) -> None:
        retry, last_read, last_full = _FIRST_RETRY, -inf, -inf
        while True:
            self._ended.wait(self._limiter.delay())
            self._woken.clear()  # first: a change from here on needs another read
            now = clock.now()
            interval = _FULL_INTERVAL if self._subscription.active else _POLL_INTERVAL
            is_over = [name for name, due in self._due.items() if due <= now]
            with self._lock:
                if self._closed:
                    return
                dirty, self._dirty = self._dirty.union(is_over), set()
                everything = self._all_dirty or now - last_full >= interval
                self._all_dirty = False
                wanted = [name for name in dirty if name in self._watched]
                if everything:
                    wanted = list(self._watched)
                dropped = dirty - self._watched.keys()
            for name in dropped:
                self._due.pop(name, None)
            failure: StoreUnavailable | None = None
            try:
                if wanted or now - last_read >= _CHECK_INTERVAL:
                    self._limiter.consume()
                    self._read(wanted)
                    last_read = now
                    last_full = now if everything else last_full
                    self._subscription.start()  # once it is known which server answers
            except StoreClosed:
                return  # it will not be opened again
            except StoreUnavailable as error:
                failure = error
            except Exception as error:  # a mistake here must not end all watches
                log.exception("reading what is watched failed")
                failure = StoreUnavailable(f"reading what is watched failed: {error!r}")
                failure.__cause__ = error
            if failure is not None:
                with self._lock:
                    self._all_dirty = True
                    names = list(self._watched)
                for name in names:
                    self._report(name, failure)
                self._woken.wait(retry)
                retry = min(2 * retry, _LAST_RETRY)
                continue
            retry = _FIRST_RETRY
            until = min([last_read + min(_CHECK_INTERVAL, interval), *self._due.values()])
            self._woken.wait(max(_LEAST_DELAY, until - clock.now()))

    def _read(self, names: Sequence[str]) -> None:
        """Read what is at these names, and report what has changed."""
        for start in range(0, max(1, len(names)), _MOST_NAMES):
            some = names[start : start + _MOST_NAMES]
            with call_timeout(_READ_SECONDS):
                answers = self._entries.read(some)
            now = clock.now()
            for name, found in zip(some, answers, strict=True):
                if found.expiry is None:
                    self._due.pop(name, None)
                else:
                    self._due[name] = now + found.expiry
                entries = found.entries
                self._report(
                    name, entries if name.endswith("/") else entries[0] if entries else None
                )

    def _report(self, name: str, state: Change) -> None:
        """Let the watches of that name report what is new to them: a state, or a failure of any kind."""
        report: object = StoreUnavailable if isinstance(state, StoreUnavailable) else state
        with self._lock:
            watches = self._watched.get(name, {})
            news = [watch for watch, reported in watches.items() if reported != report]
            for watch in news:
                watches[watch] = report
        for watch in news:
            watch.publish(state)


def _names_of(key: str) -> Iterable[str]:
    """The names under which a key is watched: itself, and each prefix of it."""
    yield key
    yield "/"
    at = key.find("/")
    while at >= 0:
        yield key[: at + 1]
        at = key.find("/", at + 1)
