"""Observation: the observers of this process, and the thread that calls them.

The code that reports a record holds no lock and waits for nothing: it tests `hub.active`, and puts the
record into a queue. So an observer that hangs, raises or is slow delays no renewal; what does not
fit into the queue is dropped, counted and reported.
"""

from __future__ import annotations

import _thread
import logging
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from . import clock
from .event_count import Flag
from .threads import start_daemon

if TYPE_CHECKING:
    from .protocols import Closable
    from .records import Record

__all__ = ["ObserverHub", "hub", "observe"]

log: logging.Logger = logging.getLogger("leadership.observers")

_MOST_QUEUED = 10_000  # requests and renewals; other records have as much again
_CLOSE_SECONDS = 2.0  # for which `close` waits until queued records are delivered
_CALL_SECONDS = 5.0  # for which it waits for a call that is under way
_FORK_SECONDS = 0.5  # for which a fork waits for a call that is under way
_LOG_INTERVAL = 60.0  # seconds between two log records of one kind of failure
_MOST_KINDS = 20  # of failures of one observer that are kept apart


def observe(plugin: object) -> Closable:
    """Call an observer with every record from now on, until the result is closed.

    An observer is any object, such as a module or an instance of a class, with the pluggy hook
    `leadership_observe(record)`, marked with `leadership_core.observers.hookimpl`. All observers are
    called by one thread of the process, one record after the other, while the library holds no
    lock. What they raise is logged, and changes nothing else. If they are too slow, records are dropped,
    requests and renewals first, and a `RecordsDropped` says how many. Requests that an observer makes
    itself are not reported. It begins with the present state of candidates and followers, as records that
    have `present` set. A forked child goes on with the observers of its parent, and its own records.

    Does not block. Closing it delivers what is queued, for two seconds at most, and waits for a call
    that is under way, for five seconds at most; no call begins afterwards.

    Args:
        plugin: the observer.

    Raises:
        ConfigurationError: it has no such hook, or it observes already.

    Example:
        >>> from leadership_core.observers import Request, hookimpl, observe
        >>> class SlowRequests:
        ...     @hookimpl
        ...     def leadership_observe(self, record):
        ...         if isinstance(record, Request) and record.seconds > 1:
        ...             print(record.operation, record.outcome, record.seconds)
        >>> handle = observe(SlowRequests())
        >>> handle.close()
    """
    return hub.register(plugin)


class ObserverHub:
    """All observers of this process; thread-safe, and safe for signal handlers.

    Attributes:
        active: whether there is an observer. Code that would report a record tests it first.
        present: yields records of the present state of all open stores; set by the engine.
    """

    def __init__(self) -> None:
        self.active: bool = False
        self.present: Callable[[], Iterable[Record]] = tuple
        self._observers: tuple[_Observer, ...] = ()  # replaced, never changed
        self._delivery: _Delivery | None = None
        self._changing = threading.RLock()

    def register(self, plugin: object) -> Closable:
        """Add an observer; see `observe`."""
        observer = _Observer(self, plugin)
        with self._changing:
            if any(one.plugin is plugin for one in self._observers):
                raise ConfigurationError(f"{plugin!r} observes already: close its handle first")
            self._observers = (*self._observers, observer)
            if self._delivery is None:
                self._delivery = _Delivery(self)
            delivery = self._delivery
            self.active = True
        for record in self.present():
            delivery.put(record, observer)
        return observer

    def remove(self, observer: _Observer) -> None:
        """Remove an observer; with the last one the thread ends."""
        with self._changing:
            self._observers = tuple(one for one in self._observers if one is not observer)
            if not self._observers and self._delivery is not None:
                self.active = False
                delivery, self._delivery = self._delivery, None
                delivery.end()

    def report(self, record: Record) -> None:
        """Queue a record for all observers; never blocks, and raises nothing."""
        delivery = self._delivery
        if delivery is not None:
            delivery.put(record)

    def flush(self, timeout: float) -> bool:
        """Wait until all that is queued is delivered; False if that takes longer than `timeout`."""
        delivery = self._delivery
        return delivery is None or delivery.flush(timeout)

    def wait_for_call(self, timeout: float) -> None:
        """Wait until no call is under way in another thread, at most `timeout` seconds."""
        delivery = self._delivery
        if delivery is not None and delivery.calling.acquire(timeout=timeout):
            delivery.calling.release()

    def deliver(self, record: Record, only: _Observer | None = None) -> None:
        """Call all observers, or one of them; in the thread that delivers."""
        for observer in self._observers:
            if only is None or only is observer:
                observer.call(record)

    # A call that is under way at a fork may hold a lock, as those of prometheus_client do, which
    # would stay locked in the child. So the fork waits for it, as long as it does not hang.

    def before_fork(self) -> None:
        """Let no call be under way during the fork."""
        if self._delivery is not None:
            self._delivery.pause(_FORK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Continue after the fork."""
        if self._delivery is not None:
            self._delivery.resume()

    def after_fork_in_child(self) -> None:
        """Begin again in the child, where neither the thread nor the locks of the parent count."""
        self._changing = threading.RLock()
        if self._observers:
            self._delivery = _Delivery(self)


class _Observer:
    """One registered observer; closing it removes it."""

    def __init__(self, hub: ObserverHub, plugin: object) -> None:
        import pluggy  # imported already where a store was opened

        from . import hooks

        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        try:
            manager.register(plugin)
            manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            raise ConfigurationError(f"{plugin!r} is no observer: {error}") from error
        self._hook = manager.hook.leadership_observe
        if not self._hook.get_hookimpls():
            raise ConfigurationError(
                f"{plugin!r} is no observer: it has no function leadership_observe(record) that is "
                "marked with leadership_core.observers.hookimpl"
            )
        self.plugin = plugin
        self._hub = hub
        self._closed = False
        self._failures: dict[str, tuple[float, int]] = {}  # when each kind may be logged; how often

    def call(self, record: Record) -> None:
        """Call the observer; in the thread that delivers."""
        if self._closed:
            return
        try:
            self._hook(record=record)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the others are called
            self._failed(record, error)

    def _failed(self, record: Record, error: BaseException) -> None:
        kind = f"{type(record).__name__} {type(error).__name__}"
        if len(self._failures) >= _MOST_KINDS:
            kind = next(iter(self._failures))
        due, failures = self._failures.get(kind, (-float("inf"), 0))
        now = clock.now()
        if now < due:
            self._failures[kind] = due, failures + 1
            return
        self._failures[kind] = now + _LOG_INTERVAL, 0
        try:
            log.error(
                "the observer %r failed with a %s (%d more since the last report)",
                *(self.plugin, type(record).__name__, failures),
                exc_info=error,
            )
        except BaseException:  # noqa: BLE001 - no memory, or a handler that raises
            return

    def close(self) -> None:
        """Deliver what is queued, and end the calls; see `observe`."""
        if not self._closed:
            self._hub.flush(_CLOSE_SECONDS)
        self._closed = True
        self._hub.wait_for_call(_CALL_SECONDS)
        self._hub.remove(self)


class _Delivery:
    """A queue of records, and the thread that delivers them.

    The thread starts with the first record, so a process that forks its workers before it opens a
    store has none.

    Attributes:
        calling: held while observers are called; reentrant, because they may close themselves.
    """

    def __init__(self, hub: ObserverHub) -> None:
        self.calling = threading.RLock()
        self._hub = hub
        self._queue: SimpleQueue[tuple[Record, _Observer | None] | Flag | None] = SimpleQueue()
        self._unstarted = [None]  # the one call that pops it starts the thread
        self._thread: int | None = None
        self._pauses: list[int] = []  # the threads that have taken `calling` for a fork
        self._drops = count()  # counts in one step, which no other thread and no handler divides
        self._drops_read = self._dropped = 0  # how often it was read; what was reported

    def put(self, record: Record, only: _Observer | None = None) -> None:
        most = _MOST_QUEUED if record.droppable else 2 * _MOST_QUEUED
        if self._thread == threading.get_ident():
            return  # an observer has made a request: that record would lead to the next
        if self._queue.qsize() >= most:
            next(self._drops)
            return
        self._queue.put((record, only))
        if self._unstarted:
            self._start()

    def end(self) -> None:
        self._queue.put(None)

    def flush(self, timeout: float) -> bool:
        if self._thread == threading.get_ident() or (self._unstarted and self._queue.empty()):
            return True
        delivered = Flag()
        self._queue.put(delivered)
        return delivered.wait(timeout)

    def pause(self, timeout: float) -> None:
        if self.calling.acquire(timeout=timeout):
            self._pauses.append(threading.get_ident())

    def resume(self) -> None:
        if threading.get_ident() in self._pauses:
            self._pauses.remove(threading.get_ident())
            self.calling.release()

    def _start(self) -> None:
        # `Thread.start` takes locks and waits. This may be the scheduler's thread, or the main
        # thread, which a signal handler may interrupt there: so a bare thread calls it.
        def start() -> None:
            try:
                start_daemon(self._run, "leadership-observers")
            except BaseException:  # noqa: BLE001 - there can be no thread now: the next record tries again
                self._unstarted.append(None)

        try:
            self._unstarted.pop()
        except IndexError:
            return  # another call starts it
        try:
            _thread.start_new_thread(start, ())
        except RuntimeError:  # no more threads for now, or the process is about to end
            self._unstarted.append(None)

    def _run(self) -> None:
        self._thread = threading.get_ident()
        while (item := self._queue.get()) is not None:
            if isinstance(item, Flag):
                item.set()
                continue
            # What observers raise is dealt with there; this is for no memory.
            with suppress(BaseException), self.calling:
                self._hub.deliver(*item)
                self._report_drops()
            del item

    def _report_drops(self) -> None:
        dropped = next(self._drops) - self._drops_read
        self._drops_read += 1
        new, self._dropped = dropped - self._dropped, dropped
        if new:
            from .records import RecordsDropped

            if new == dropped:
                log.warning("observers are too slow: %d records were dropped", new)
            self._hub.deliver(RecordsDropped(at=clock.now(), count=new))


hub: Final = ObserverHub()
"""The observers of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=hub.before_fork,
        after_in_parent=hub.after_fork_in_parent,
        after_in_child=hub.after_fork_in_child,
    )
