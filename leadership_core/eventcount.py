"""Waiting for a change without holding a lock: an event count, and a flag on top of it.

A signal handler runs between two steps of the main thread, whatever that is doing, and may call
every public method. If the main thread held a lock at that moment, a plain one would stop the
handler for good, and even a reentrant one would stop the other threads that the handler waits
for. So what users wait for is guarded by no lock: whoever waits first makes itself known, then
looks at the state, and sleeps on a lock of its own that the other side releases.
(D. Reed, R. Kanodia: Synchronization with Eventcounts and Sequencers, 1979.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TypeVar

from . import clock

__all__ = ["EventCount", "Flag", "snapshot"]

T = TypeVar("T")

_LONGEST = threading.TIMEOUT_MAX / 2


def snapshot(collection: Collection[T]) -> tuple[T, ...]:
    """Copy a set, or the keys of a dictionary, that may be changed meanwhile."""
    while True:
        with suppress(RuntimeError):  # it changed during the copy
            return tuple(collection)


class EventCount:
    """Wakes threads that wait for a change of a state; holds no lock across anything.

    The state is not part of it: change the state first, then call `notify_all`.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[threading.Lock, None] = {}  # in the order in which they came

    def notify_all(self) -> None:
        """Let all that wait look at the state again; from any thread, and from a handler."""
        for waiter in snapshot(self._waiters):
            with suppress(RuntimeError):  # it is awake already
                waiter.release()

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Block until the predicate is true, at most `timeout` seconds; returns its last value."""
        result = predicate()
        if result or (timeout is not None and timeout <= 0):
            return result
        until = None if timeout is None else clock.now() + timeout
        waiter = threading.Lock()
        waiter.acquire()
        try:
            self._waiters[waiter] = None
            while not (result := predicate()):
                left = _LONGEST if until is None else until - clock.now()
                if left <= 0:
                    break
                waiter.acquire(timeout=min(left, _LONGEST))
        finally:
            self._waiters.pop(waiter, None)
        return result


class Flag:
    """A `threading.Event` that cannot be cleared, and that signal handlers may set and wait for."""

    __slots__ = ("_changed", "_set")

    def __init__(self) -> None:
        self._set = False
        self._changed = EventCount()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake all that wait."""
        self._set = True
        self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, at most `timeout` seconds; says whether it is."""
        return self._changed.wait_for(self.is_set, timeout)
