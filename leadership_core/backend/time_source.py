"""Source of time of one store: its clock, and the waits that the clock ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from . import clock
from .event_count import EventCount, Wait

__all__ = ["TimeSource", "time_source_of"]

T = TypeVar("T")

_UNCOUNTED = nullcontext()


class TimeSource:
    """The machine's boot clock; tests of programs put a `VirtualClock` in its place.

    The engine of a store and `memory://` read the time and wait here only. What belongs to requests
    over a network, and to the end of the process, runs on the machine's clock in any case.

    Attributes:
        seed: of the engine's random numbers; None for other ones in each run.
        suspends: whether the clock counts time that the wait of a thread does not.
    """

    seed: int | None = None
    suspends = True

    @property
    def clock(self) -> clock.Clock:
        """The function that reads the time, for code that calls it often."""
        return clock.now

    def now(self) -> float:
        """Return the time in seconds."""
        return clock.now()

    def begin_work(self, *, callback: bool = False) -> AbstractContextManager[object]:
        """Count work that has begun; it ends with the block that a thread runs it in.

        Called before the work is queued, or the thread is started; the block is entered in its thread.

        Args:
            callback: the work is a callback of the program.
        """
        return _UNCOUNTED

    @property
    def works_here(self) -> bool:
        """Whether the calling thread does counted work."""
        return False

    def wait_for(
        self, event: EventCount, predicate: Callable[[], T], seconds: float | None = None
    ) -> T:
        """Wait as `EventCount.wait_for` does; in a thread of the engine.

        Args:
            event: notified after each change of what the predicate reads.
            predicate: ends the wait; other threads may call it, too.
            seconds: on this clock.
        """
        return event.wait_for(predicate, seconds)

    def waiting_for_others(
        self,
        event: EventCount,
        predicate: Callable[[], object],
        seconds: float | None,
        *,
        held: Callable[[], object] = lambda: True,
    ) -> Wait:
        """Return a wait, in a thread or coroutine of the user's, for what other programs do.

        Args:
            event: as for `wait_for`.
            predicate: ends the wait.
            seconds: on this clock, or of real time, whichever have passed first.
            held: whether another program is waited for at this moment, and not the store.
        """
        return Wait(event, predicate, seconds)

    def waiting_for_store(
        self,
        event: EventCount,
        predicate: Callable[[], object],
        seconds: float,
        *,
        held: Callable[[], object] = lambda: False,
    ) -> Wait:
        """Return a wait, in a thread or coroutine of the user's, for what the engine does by itself.

        Args:
            event: as for `wait_for`.
            predicate: ends the wait.
            seconds: as for `waiting_for_others`.
            held: whether work of the program is waited for at this moment, and not the store.
        """
        return Wait(event, predicate, seconds)


def time_source_of(backend: object) -> TimeSource:
    """Return the source of time of a backend; the machine's clock unless it has another."""
    own = getattr(backend, "time_source", None)
    return own if isinstance(own, TimeSource) else TimeSource()
