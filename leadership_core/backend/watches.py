"""Delivery of a watch's reports to its callback, and watches for stores that must poll."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from ..errors import StoreClosed, StoreUnavailable
from .deadline import call_timeout, remaining_timeout
from .entries import Change
from .event_count import EventCount
from .threads import start_daemon

__all__ = ["PollingWatcher", "ReadStates", "WatchDelivery"]


_log = logging.getLogger(__name__)

ReportT = TypeVar("ReportT")


class WatchDelivery(Generic[ReportT]):
    """Calls a callback with the latest report, one call at a time, until it is closed.

    Any thread may publish, so several may at once: one of them makes the calls, with the latest
    report, until there is none left; the others return at once. A report that is replaced before
    its call begins is skipped. An error of the callback is logged, and the watch goes on.
    Thread-safe, and safe for signal handlers.

    Args:
        callback: the user's; called with no lock held.
        on_close: called once, by the first `close`, before that waits for a call under way.
    """

    __slots__ = (
        "__weakref__",
        "_callback",
        "_calling",
        "_closed",
        "_idle",
        "_latest",
        "_leadership_store",  # set by the engine: an open watch keeps its store from being collected
        "_lock",
        "_number",
        "_on_close",
        "_process",
    )

    def __init__(
        self,
        callback: Callable[[ReportT], object],
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._callback = callback
        self._on_close = on_close
        self._lock = threading.RLock()  # reentrant: a signal handler may close
        # Made by a `close` that has to wait, since there are many watches.
        self._idle: EventCount | None = None
        self._process = os.getpid()
        self._latest: tuple[ReportT, ...] = ()  # the report of the next call, if there is one
        self._number = -1  # the highest one so far
        self._calling: int | None = None  # the thread that makes the calls
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no further call begins."""
        return self._closed

    def publish(self, report: ReportT, *, number: int | None = None) -> None:
        """Call the callback with the report; the caller must hold no lock that it might want.

        Args:
            report: the report.
            number: its place in the order of all reports, for stores whose threads may publish in
                another order: a report is skipped if one with this or a higher number came before.
        """
        self.put(report, number=number)
        self.run()

    def put(self, report: ReportT, *, number: int | None = None) -> None:
        """Keep the report for the next `run`; calls nothing, so a lock may be held."""
        with self._lock:
            if number is not None:
                if number <= self._number:
                    return
                self._number = number
            if not self._closed:
                self._latest = (report,)

    def run(self) -> None:
        """Make the calls that are due, unless another thread, or this one further up, does."""
        with self._lock:
            if self._calling is not None or not self._latest:
                return
            self._calling = threading.get_ident()
        try:
            while True:
                with self._lock:
                    latest, self._latest = self._latest, ()
                    if not latest:
                        self._stop_calling()  # under the same lock: no report is left behind
                        return
                try:
                    self._callback(latest[0])
                except Exception:  # noqa: BLE001 - of the user: the watch goes on
                    _log.exception("a watch's callback failed: %r", self._callback)
        except BaseException:  # Ctrl-C in the callback, or it ends the thread
            self._stop_calling()
            raise

    def close(self) -> None:
        """End the calls: none begins after this has returned. May be called repeatedly.

        Waits for a call that is under way in another thread, for the remaining timeout at most (five
        seconds outside a call of the store); does not wait inside the callback itself, whose call
        is the last one then. No effect in a forked child.
        """
        if os.getpid() != self._process:
            return  # no thread calls back here, and one of the parent may have held the lock
        with self._lock:
            first, self._closed = not self._closed, True
            self._latest = ()
        if first:
            self._on_close()
        with self._lock:
            if self._calling in {None, threading.get_ident()}:
                return
            if self._idle is None:
                self._idle = EventCount()
        self._idle.wait_for(lambda: self._calling is None, remaining_timeout())

    def _stop_calling(self) -> None:
        with self._lock:
            self._calling = None
            if self._idle is not None:
                self._idle.notify_all()


_READ_SECONDS = 2.0  # for a read, so that the thread ends soon after `close`, even if it hangs
_LAST_RETRY = 1.0
_UNAVAILABLE: Final = object()

ReadStates = Callable[[Sequence[tuple[str, bool]]], Sequence[Change]]
"""Reads the state of each key, linearizably; with True, of the tree below the key."""


class PollingWatcher:
    """All watches of one store that has to poll; thread-safe.

    One thread polls, from the first watch on, until `close`. Each watch reports the present state,
    then each latest state that differs from the one before, and a `StoreUnavailable` when polling
    fails; it goes on until the watch is closed.

    Args:
        read: returns the states, in order. It is called in the thread, with a timeout of its own,
            and raises `StoreUnavailable` when the store cannot be reached.
        pause: seconds between two reads.
        wait: blocks until something may have changed, or for about that many seconds; it has a
            timeout, too. Without it, the thread waits for `wake`.
        name: the thread's name; it begins with `leadership-`.
    """

    def __init__(
        self,
        read: ReadStates,
        *,
        pause: float,
        wait: Callable[[float], object] | None = None,
        name: str = "leadership-watch",
    ) -> None:
        self._read: Final = read
        self._pause: Final = pause
        self._name: Final = name
        self._woken: Final = threading.Event()
        self._wait: Final = self._woken.wait if wait is None else wait
        self._process: Final = os.getpid()
        self._lock: Final = threading.Lock()
        self._watched: Final[dict[WatchDelivery[Change], tuple[str, bool]]] = {}
        # The latest report of each watch; only in the thread.
        self._reported: Final[dict[WatchDelivery[Change], object]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool
    ) -> WatchDelivery[Change]:
        """Start a watch. Sends no request: the thread delivers the present state.

        Args:
            key: the key, or the prefix if `tree` is true.
            on_change: called in the thread.
            tree: watch what is below the key.

        Raises:
            StoreClosed: the watcher is closed.
        """

        def forget() -> None:
            with self._lock:
                self._watched.pop(watch, None)

        watch = WatchDelivery(on_change, forget)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            if self._thread is None:
                # It cannot read before this block has ended.
                self._thread = start_daemon(self._run, self._name)
            self._watched[watch] = key, tree
        self.wake()
        return watch

    def wake(self) -> None:
        """Poll now: something has changed. For stores that leave the waiting to this class."""
        self._woken.set()

    def close(self) -> None:
        """End all watches, and wait within the timeout until the thread has ended."""
        if os.getpid() != self._process:
            return  # a forked child: there is no thread here, and the lock may never be released
        with self._lock:
            self._closed = True
            watches, thread = list(self._watched), self._thread
        self.wake()
        for watch in watches:
            watch.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    def _run(self) -> None:
        retry = self._pause
        while True:
            self._woken.clear()  # first: a change from here on needs another read
            if self._closed:
                return
            with self._lock:
                watched = dict(self._watched)
            try:
                with call_timeout(_READ_SECONDS):
                    states = self._read(list(watched.values()))
                self._report(list(watched), states)
                with call_timeout(_READ_SECONDS + self._pause):
                    self._wait(self._pause)
                retry = self._pause
                continue
            except StoreClosed:
                return  # it will not be opened again
            except StoreUnavailable as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a mistake of the store must not end its watches
                _log.exception("polling for changes failed")
                failure = StoreUnavailable(f"polling for changes failed: {error!r}")
                failure.__cause__ = error
            self._report(list(watched), [failure] * len(watched))
            self._woken.wait(retry)
            retry = min(retry * 2, _LAST_RETRY)

    def _report(self, watches: Sequence[WatchDelivery[Change]], states: Sequence[Change]) -> None:
        for watch, state in zip(watches, states, strict=True):
            report: object = _UNAVAILABLE if isinstance(state, StoreUnavailable) else state
            if watch not in self._reported or self._reported[watch] != report:
                self._reported[watch] = report
                watch.publish(state)
        for closed in self._reported.keys() - set(watches):
            del self._reported[closed]
