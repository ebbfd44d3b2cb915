"""Event count: waiting for a change without holding a lock; and a flag built on it.

A signal handler runs between any two steps of the main thread, and may call every public method. If
the main thread held a lock at that moment, a plain one would block the handler forever, and even a
reentrant one would block the other threads that the handler waits for. So no lock guards the state
that users wait for: a thread that waits first registers, then reads the state, and sleeps on a lock
of its own that the other side releases. The other side reads the state for it before that: to wake a
thread in vain takes the interpreter from those that have something to do.
(D. Reed, R. Kanodia: Synchronization with Eventcounts and Sequencers, 1979.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator
from contextlib import suppress
from typing import NamedTuple, TypeAlias, TypeVar

from . import clock

__all__ = ["EventCount", "Flag", "Wait", "Waits", "block_on", "snapshot"]

T = TypeVar("T")

_LONGEST = threading.TIMEOUT_MAX / 2


def snapshot(collection: Collection[T]) -> tuple[T, ...]:
    """Copy a set, or the keys of a dictionary, that other threads may change meanwhile."""
    while True:
        try:
            return tuple(collection)
        except RuntimeError:  # it changed during the copy
            continue


class EventCount:
    """Wakes threads that wait for a change of a state; holds no lock across anything.

    The state is not part of it: change the state first, then call `notify_all`.
    """

    __slots__ = ("_subscribers", "_waiters")

    def __init__(self) -> None:
        # In the order in which they came, each with what it waits for.
        self._waiters: dict[threading.Lock, Callable[[], object]] = {}
        self._subscribers: dict[Callable[[], object], None] = {}

    def notify_all(self) -> None:
        """Wake all threads whose predicate is true now; from any thread, and from a signal handler."""
        if self._waiters:  # mostly there is none, and an election notifies ten times
            for waiter, predicate in snapshot(self._waiters.items()):
                if _is_surely_false(predicate):
                    continue
                with suppress(RuntimeError):  # it is awake already
                    waiter.release()
        if self._subscribers:
            for wake in snapshot(self._subscribers):
                with suppress(Exception):  # the event loop that it would wake is closed, say
                    wake()

    def subscribe(self, wake: Callable[[], object]) -> None:
        """Call `wake` at each notification until `unsubscribe`, for what cannot block in `wait_for`.

        It is called in any thread, and in signal handlers, so it may take no lock and must return
        at once; `loop.call_soon_threadsafe` does. Exceptions are dropped. The subscriber reads the
        state after this call, not before.
        """
        self._subscribers[wake] = None

    def unsubscribe(self, wake: Callable[[], object]) -> None:
        """End the calls; one that has begun in another thread may be under way. May be repeated."""
        self._subscribers.pop(wake, None)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Block until the predicate is true, at most `timeout` seconds; returns its last value.

        Args:
            predicate: reads the state; also called in the threads that notify, and in their signal
                handlers, so it may take no lock that is held there.
            timeout: seconds; None waits without a limit.
        """
        result = predicate()
        if result or (timeout is not None and timeout <= 0):
            return result
        until = None if timeout is None else clock.now() + timeout
        waiter = threading.Lock()
        waiter.acquire()
        try:
            self._waiters[waiter] = predicate
            while not (result := predicate()):
                left = _LONGEST if until is None else until - clock.now()
                if left <= 0:
                    break
                waiter.acquire(timeout=min(left, _LONGEST))
        finally:
            self._waiters.pop(waiter, None)
        return result


def _is_surely_false(predicate: Callable[[], object]) -> bool:
    try:
        return not predicate()
    except Exception:  # noqa: BLE001 - it is raised in the thread that waits
        return False


class Wait(NamedTuple):
    """One wait of an operation: for what, and for how long.

    Attributes:
        event: notified after each change of the state.
        predicate: ends the wait as soon as it is true.
        timeout: seconds; None waits without a limit.
        blocking: waits for a predicate in a thread, where `EventCount.wait_for` does not serve.
    """

    event: EventCount
    predicate: Callable[[], object]
    timeout: float | None = None
    blocking: Callable[[Callable[[], object]], object] | None = None

    def block(self) -> None:
        """Block until the predicate is true, or the timeout has passed."""
        if self.blocking is None:
            self.event.wait_for(self.predicate, self.timeout)
        else:
            self.blocking(self.predicate)


Waits: TypeAlias = Generator[Wait, None, T]
"""An operation that yields what it waits for, and returns its result.

It is written once, and serves threads, which block (`block_on`), and coroutines, which await.
"""


def block_on(operation: Waits[T]) -> T:
    """Run the operation, and block in each of its waits; returns its result."""
    while True:
        try:
            wait = next(operation)
        except StopIteration as end:
            result: T = end.value
            return result
        wait.block()


class Flag:
    """A `threading.Event` that cannot be cleared, and that signal handlers may set and wait for.

    Attributes:
        changed: notified when it is set.
    """

    __slots__ = ("_set", "changed")

    def __init__(self) -> None:
        self._set = False
        self.changed: EventCount = EventCount()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake all that wait."""
        self._set = True
        self.changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, for `timeout` seconds at most; returns whether it is."""
        return self.changed.wait_for(self.is_set, timeout)
