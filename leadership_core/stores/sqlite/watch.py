"""The watches of one store: a thread polls the database while there is at least one watch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from ...backend import clock
from ...backend.deadline import call_timeout, remaining_timeout
from ...backend.entries import Change, Entry
from ...backend.threads import start_daemon
from ...backend.watches import WatchDelivery
from ...errors import ForkedStore, StoreClosed, StoreUnavailable
from .change_detector import ChangeDetector, fingerprint_of
from .database import Database
from .executor import FileReplaced, TransactionExecutor
from .transactions import Span, State, key_span, tree_span

__all__ = ["POLL_INTERVAL", "Watches"]

_log = logging.getLogger(__name__)

POLL_INTERVAL = 0.02
"""Seconds between two polls of a database that has not changed for some seconds."""

_RECENT_INTERVAL = 0.01
_RECENT_SECONDS = 3.0  # after a change, for which the pauses are no longer than that
_ACTIVE_INTERVAL = 0.005  # right after a change
_LEAST_INTERVAL = 0.0005
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0
_LINGER_SECONDS = 0.2  # after the last watch: a hand-over closes one and starts the next
_FIRST_READ_SECONDS = 1.0  # for the present state; after that it is left to the thread


_FAILURE: Final = "failure"


class _Watch:
    """One watch, and what it has reported."""

    __slots__ = ("_reported", "_seen", "delivery", "key", "tree")

    def __init__(
        self,
        key: str,
        tree: bool,
        on_change: Callable[[Change], None],
        on_close: Callable[[_Watch], None],
    ) -> None:
        self.key, self.tree = key, tree
        self.delivery = WatchDelivery(on_change, partial(on_close, self))
        self._seen: State | None = None
        self._reported: object = None  # the file and fingerprint of the last report, or `_FAILURE`

    @property
    def span(self) -> Span:
        return tree_span(self.key) if self.tree else key_span(self.key)

    def put(self, state: State, entries: Sequence[Entry]) -> bool:
        """Note what the span has in it, for `delivery.run`; False if that is old, or reported already.

        Two threads may read the span, and report in another order.
        """
        fingerprint = state.file, fingerprint_of(entries)
        if (self._seen is not None and state < self._seen) or fingerprint == self._reported:
            return False
        self._seen, self._reported = state, fingerprint
        if self.tree:
            self.delivery.put(list(entries))
        else:
            self.delivery.put(entries[0] if entries else None)
        return True

    def put_failure(self, error: StoreUnavailable) -> bool:
        """Note that the span cannot be read; False if that is reported already."""
        if self._reported is _FAILURE:
            return False
        self._reported = _FAILURE
        self.delivery.put(error)
        return True


class Watches:
    """All watches of one store; thread-safe.

    A watch reports the present state in the thread that starts it, and all later ones in a thread that
    polls. What a poll costs depends on what has changed, and not on how many watches there are.

    Args:
        database: the database to poll.
        executor: reads, and deletes the sessions that have expired.
    """

    def __init__(self, database: Database, executor: TransactionExecutor) -> None:
        self._database: Final = database
        self._executor: Final = executor
        self._lock: Final = threading.RLock()
        self._watches: Final[dict[str, list[_Watch]]] = {}  # by their keys
        self._trees: Final[dict[str, list[_Watch]]] = {}
        self._unread: set[Span] = set()  # spans with a watch that has reported nothing yet
        self._bell: Final = threading.Lock()  # free where there is work; waiting for it is cheap
        self._bell.acquire()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool
    ) -> WatchDelivery[Change]:
        """Start a watch, and deliver the present state; blocks for a read, for one second at most.

        Args:
            key: the key, or the prefix if `tree` is true.
            on_change: called in this thread and in the watching thread.
            tree: watch all keys below `key`.

        Raises:
            StoreClosed: the store is closed.
            ForkedStore: the store belongs to the parent of this process.
        """
        self._database.check_open()
        watch = _Watch(key, tree, on_change, self._forget)
        with self._lock:
            if self._closed:
                raise StoreClosed("the sqlite:// store is closed")
            is_first = self._is_unwatched()
            (self._trees if tree else self._watches).setdefault(key, []).append(watch)
            needs_thread = self._thread is None
        if is_first:
            self.wake()
        try:
            if needs_thread:
                self._start_thread()
            # After it was added: the thread reports all that changes from here on.
            try:
                with call_timeout(_FIRST_READ_SECONDS):
                    state, entries = self._executor.read_state(watch.span)
            except StoreUnavailable:
                with self._lock:
                    self._unread.add(watch.span)
                self.wake()
            else:
                self._report([(watch, state, entries)])
        except StoreClosed:  # it was closed meanwhile
            watch.delivery.close()
        except BaseException:
            watch.delivery.close()
            raise
        return watch.delivery

    def _start_thread(self) -> None:
        # Without the lock: where memory has run out, Python may wait for a new thread without end,
        # and `close` needs the lock. Of the threads of several calls, all but one end at once.
        begun = threading.Event()
        start_daemon(partial(self._run, begun), "leadership-sqlite-watch")
        begun.wait(remaining_timeout())  # so that `close` knows which thread to wait for

    def wake(self) -> None:
        """Poll now: this process has written, say."""
        with suppress(RuntimeError):  # it is free already
            self._bell.release()

    def close(self) -> None:
        """End all watches, and wait for the thread to end, for `remaining_timeout()` at most."""
        with self._lock:
            self._closed = True
            watches = list(self._all())
            thread = self._thread
        self.wake()
        for watch in watches:
            watch.delivery.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    def _all(self) -> Iterator[_Watch]:
        for places in (self._watches, self._trees):
            for watches in places.values():
                yield from watches

    def _forget(self, watch: _Watch) -> None:
        places = self._trees if watch.tree else self._watches
        with self._lock:
            watches = places[watch.key]
            watches.remove(watch)
            if not watches:
                del places[watch.key]
            if self._is_unwatched():
                self.wake()  # the thread ends

    def _spans_of(self, keys: Collection[str] | None) -> Collection[Span]:
        """Return the watched spans with one of the keys in them; see `SpansOf`."""
        with self._lock:
            if keys is None:
                return {watch.span for watch in self._all()}
            spans = {key_span(key) for key in keys if key in self._watches}
            if self._trees:
                parents = {key[:end] for key in keys for end, char in enumerate(key) if char == "/"}
                spans.update(map(tree_span, (parents | {""}) & self._trees.keys()))
            return spans

    def _on(self, span: Span) -> Sequence[_Watch]:
        low, _ = span
        if span == key_span(low):
            return self._watches.get(low, ())
        return self._trees.get(low.removesuffix("/"), ())

    def _report(self, found: Iterable[tuple[_Watch, State, list[Entry]]]) -> None:
        with self._lock:  # so that each watch keeps the reports in their order
            due = [watch for watch, state, entries in found if watch.put(state, entries)]
        for watch in due:
            watch.delivery.run()

    def _run(self, begun: threading.Event) -> None:
        with self._lock:
            is_the_only_one = self._thread is None
            if is_the_only_one:
                self._thread = threading.current_thread()
        begun.set()
        if is_the_only_one:
            self._poll()

    def _poll(self) -> None:
        detector: ChangeDetector | None = None
        pause, retry = 0.0, _FIRST_RETRY
        quiet = 0.0  # seconds of pauses since the last change
        while self._wait_for_work(pause):
            try:
                if detector is None:
                    detector = ChangeDetector(self._database, self._executor, self._spans_of)
                unread: Collection[Span] = ()
                if self._unread:
                    with self._lock:
                        unread, self._unread = self._unread, set()
                changes = [] if not unread and detector.is_quiet() else detector.changes(unread)
                if changes:
                    self._report(
                        (watch, change.state, change.entries)
                        for change in changes
                        for watch in self._on(change.span)
                    )
                    pause, quiet = _ACTIVE_INTERVAL, 0.0
                else:
                    longest = _RECENT_INTERVAL if quiet < _RECENT_SECONDS else POLL_INTERVAL
                    pause = min(pause + _LEAST_INTERVAL, longest)
                pause = max(_LEAST_INTERVAL, min(pause, detector.expires_at - self._executor.now()))
                quiet += pause
                retry = _FIRST_RETRY
                continue
            except FileReplaced:
                pause = _ACTIVE_INTERVAL  # not a failure: there is another file to read
            except (StoreClosed, ForkedStore):
                pause = _LAST_RETRY  # the store is closing, which ends all watches
            except StoreUnavailable as error:
                self._report_failure(error)
                pause, retry = retry, min(retry * 2, _LAST_RETRY)
            except Exception as error:  # noqa: BLE001 - a bug here must not end all watches
                _log.exception("watching %s failed", self._database.path)
                failure = StoreUnavailable(f"watching failed: {error!r}")
                failure.__cause__ = error
                self._report_failure(failure)
                pause, retry = retry, min(retry * 2, _LAST_RETRY)
            if detector is not None:
                detector.close()
                detector = None
            # The next detector reads everything: wakeups until now are no reason to hurry.
            self._bell.acquire(blocking=False)
            with self._lock:
                self._unread.clear()
        if detector is not None:
            detector.close()

    def _wait_for_work(self, pause: float) -> bool:
        # The bell is no condition, which would allocate a lock each time.
        self._bell.acquire(timeout=pause)
        until = clock.now() + _LINGER_SECONDS
        while self._is_unwatched() and not self._closed and (left := until - clock.now()) > 0:
            self._bell.acquire(timeout=left)
        with self._lock:
            if self._closed or self._is_unwatched():
                self._thread = None
                return False
            return True

    def _is_unwatched(self) -> bool:
        return not (self._watches or self._trees)

    def _report_failure(self, error: StoreUnavailable) -> None:
        with self._lock:
            due = [watch for watch in self._all() if watch.put_failure(error)]
        for watch in due:
            watch.delivery.run()
