"""Virtual clock: time that a test lets pass."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf
from types import TracebackType
from typing import TypeVar

from ..backend import clock
from ..backend.event_count import EventCount, Wait, snapshot
from ..backend.time_source import TimeSource

__all__ = ["VirtualClock"]

T = TypeVar("T")

_SETTLE_SECONDS = 5.0  # of real time
_CALLBACK_SECONDS = 1.0  # of real time, for callbacks of the program alone
_MOST_STEPS = 100_000  # of one `elapse`
_LOOK_SECONDS = 0.001  # of real time, between two looks at whether time may pass


class _Work:
    """Work that `advance` waits for, from its beginning to the end of the block."""

    __slots__ = ("_clock", "callback", "thread")

    def __init__(self, clock: VirtualClock, *, callback: bool) -> None:
        self._clock = clock
        self.callback = callback
        self.thread: int | None = None  # until a thread has taken it

    def __enter__(self) -> None:
        self.thread = threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clock._end_work(self)  # noqa: SLF001 - a part of it

    def __str__(self) -> str:
        thread = next((one for one in threading.enumerate() if one.ident == self.thread), None)
        frame = None if thread is None else sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the one way to see where it is
        if thread is None or frame is None:
            return "a request that no thread has begun"
        return f"{thread.name}:\n{''.join(traceback.format_stack(frame)[-6:])}"


class _Wait:
    """One wait that time ends: of the engine with its work, of the program without."""

    __slots__ = ("due", "event", "is_over", "work")

    def __init__(
        self,
        event: EventCount,
        is_over: Callable[[], object],
        due: float,
        work: _Work | None,
    ) -> None:
        self.event, self.is_over, self.due, self.work = event, is_over, due, work


class VirtualClock(TimeSource):
    """A clock for tests: time passes when the test says so, and at once; thread-safe.

    `open_store("memory://name", clock=clock)` opens a store whose leases, timers and retries run on
    it; later `open_store("memory://name")` in the same process join it. The clock can also be called,
    as a function that returns the time.

    Two ways to let time pass: `elapse` lets everything happen that is due in between, so that a
    healthy leader goes on to lead. `advance` jumps, as if the process had been suspended: a leader
    whose lease is shorter than the jump has lost it. Both return when the store has done all that is
    due and the events are delivered; callbacks of candidates, followers and watches have run then.
    What the program's own threads do with an event is for the test to wait for.

    Waits of the program (`wait_elected`, `wait_leader`, `acquire`, `wait_lost`) end when their
    timeout has passed on this clock, or in real time. Where they wait for the store alone,
    for example while it is down, the time passes by itself in the thread that has made the
    clock; in `stop`, `resign` and `close` it does so in any thread.

    Args:
        start: seconds; the initial time.

    Example:
        >>> clock = VirtualClock()
        >>> with open_store("memory://", clock=clock) as store:
        ...     candidate = Candidate(store, "service/api", "node-1", ttl=15)
        ...     term = candidate.wait_elected(timeout=5)
        ...     healthy = clock.elapse(3600), candidate.is_leader
        ...     suspended = clock.advance(20), candidate.is_leader
        ...     print(healthy, suspended, candidate.wait_elected(timeout=5).token > term.token)
        (3600.0, True) (3620.0, False) True
    """

    seed: int | None = 0
    suspends = False

    def __init__(self, start: float = 0.0) -> None:
        self._seconds = start
        self._lock = threading.RLock()  # of the time, for a few steps; never held while waiting
        self._owner = threading.get_ident()
        # No lock: each is changed by a single operation, and `_mark` is replaced after each change.
        self._work: dict[_Work, None] = {}
        self._waits: dict[_Wait, None] = {}
        self._mark = object()
        self._news = EventCount()

    def now(self) -> float:
        """Return the time in seconds."""
        return self._seconds

    def __call__(self) -> float:
        return self._seconds

    @property
    def clock(self) -> clock.Clock:
        """The function that reads the time."""
        return self.now

    def advance(self, seconds: float = 0.0) -> float:
        """Jump, as if the process had been suspended for that long; returns the new time.

        Leases that end meanwhile have ended, and their events are delivered. Blocks until all is
        done that is due then, for milliseconds; with 0 it waits for that alone.

        Args:
            seconds: how far to jump, at least 0.

        Raises:
            ValueError: `seconds` is negative.
            TimeoutError: the store does not come to rest within 5 s of real time; says which
                thread is busy, and where.
            RuntimeError: it is called in a callback, for whose end it would wait.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds!r}")
        self._settle()
        with self._lock:
            self._move(self._seconds + seconds)
        self._settle()
        return self._seconds

    def elapse(self, seconds: float) -> float:
        """Let time pass, with all that is due meanwhile at its own time; returns the new time.

        Renewals, retries and the ends of leases happen as they would in so many seconds, each
        with the clock at the time that it is due. Blocks for about a millisecond for each.

        Args:
            seconds: how much time passes, at least 0.

        Raises:
            ValueError: `seconds` is negative, or so large that more than 100,000 timers are due.
            TimeoutError: as `advance`.
            RuntimeError: as `advance`.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds!r}")
        self._settle()
        end = self._seconds + seconds
        for _ in range(_MOST_STEPS):
            if self._seconds >= end:
                return self._seconds
            self._step(end)
        raise ValueError(f"{seconds!r} s have more than {_MOST_STEPS} timers: let less time pass")

    def __repr__(self) -> str:
        return f"<VirtualClock {self._seconds:g}>"

    # -- for the engine ----------------------------------------------------------------------

    def begin_work(self, *, callback: bool = False) -> AbstractContextManager[object]:
        """Count work that has begun; see `TimeSource`.

        Args:
            callback: it is the program's, so `advance` waits a second for it, and goes on without.
        """
        work = _Work(self, callback=callback)
        self._work[work] = None
        self._note()
        return work

    @property
    def busy(self) -> bool:
        """Whether any store that is open on it has threads or requests."""
        return bool(self._work)

    @property
    def works_here(self) -> bool:
        """Whether the calling thread does work that `advance` waits for."""
        return self._work_here() is not None

    def _end_work(self, work: _Work) -> None:
        self._work.pop(work, None)
        self._note()

    def wait_for(
        self, event: EventCount, predicate: Callable[[], T], seconds: float | None = None
    ) -> T:
        """Wait until time has passed or the predicate is true; see `TimeSource`."""
        due = inf if seconds is None else self._seconds + seconds
        self._wait(event, lambda: predicate() or self._seconds >= due, due)
        return predicate()

    def _wait(
        self,
        event: EventCount,
        is_over: Callable[[], object],
        due: float,
        limit: float | None = None,
    ) -> None:
        """Block until the wait is over, or `limit` seconds of real time, and count as waiting."""
        wait = _Wait(event, is_over, due, self._work_here())
        self._waits[wait] = None
        self._note()
        try:
            event.wait_for(is_over, limit)
        finally:
            self._waits.pop(wait, None)
            self._note()

    def waiting_for_others(
        self,
        event: EventCount,
        predicate: Callable[[], object],
        seconds: float | None,
        *,
        held: Callable[[], object] = lambda: True,
    ) -> Wait:
        """Return a wait that lets time pass in the clock's own thread; see `TimeSource`."""
        if seconds is None:
            return Wait(event, predicate)
        if threading.get_ident() == self._owner:
            return self.waiting_for_store(event, predicate, seconds, held=held)
        return self._limited(event, predicate, seconds)

    def waiting_for_store(
        self,
        event: EventCount,
        predicate: Callable[[], object],
        seconds: float,
        *,
        held: Callable[[], object] = lambda: False,
    ) -> Wait:
        """Return a wait that lets time pass if it blocks; see `TimeSource`."""
        wait = self._limited(event, predicate, seconds)
        end = self._seconds + seconds
        if self._work_here() is not None:  # time does not pass while this thread is busy
            return wait._replace(blocking=lambda over: self._wait(event, over, end, seconds))
        return wait._replace(blocking=lambda over: self._pass_time(wait, over, held, end))

    def _limited(self, event: EventCount, predicate: Callable[[], object], seconds: float) -> Wait:
        due = self._seconds + seconds
        self._waits[_Wait(event, predicate, due, None)] = None  # `_move` takes it out
        return Wait(event, lambda: predicate() or self._seconds >= due, seconds)

    def _pass_time(
        self,
        wait: Wait,
        is_over: Callable[[], object],
        held: Callable[[], object],
        end: float,
    ) -> None:
        """Block until the wait is over, and let time pass while the store is waited for alone."""
        limit = clock.now() + (wait.timeout or 0.0)
        while not is_over() and clock.now() < limit:
            if self._is_settled() and not is_over() and not held():
                self._step(end)
            else:
                wait.event.wait_for(is_over, _LOOK_SECONDS)

    # -- time --------------------------------------------------------------------------------

    def _work_here(self) -> _Work | None:
        """The work that the calling thread does, if any."""
        here = threading.get_ident()
        return next((one for one in snapshot(self._work) if one.thread == here), None)

    def _note(self) -> None:
        self._mark = object()
        self._news.notify_all()

    def _move(self, to: float) -> None:
        with self._lock:
            self._seconds = max(self._seconds, to)
        for wait in snapshot(self._waits):
            if wait.due <= self._seconds:
                if wait.work is None:
                    self._waits.pop(wait, None)
                wait.event.notify_all()

    def _step(self, end: float) -> None:
        """Move to the next timer, at most to the end, and let all be done that is due then."""
        due = min(
            (wait.due for wait in snapshot(self._waits) if wait.work is not None), default=inf
        )
        self._move(min(due, end))
        self._settle()

    def _is_settled(self, *, callbacks: bool = True) -> bool:
        """Whether all work waits, and for something that has not come.

        Whatever begins, ends or changes anything has work that is counted, and does not wait. So if
        nothing has begun, ended or woken between the first and the last of these readings, all of them
        are of one moment.
        """
        mark = self._mark
        work = {one for one in snapshot(self._work) if callbacks or not one.callback}
        return work <= self._idle() and self._mark is mark

    def _idle(self) -> set[_Work]:
        """The work that waits for something that has not come."""
        waits = [(one.work, one) for one in snapshot(self._waits)]
        return {work for work, one in waits if work is not None and not one.is_over()}

    def _settle(self) -> None:
        if self._work_here() is not None:
            raise RuntimeError(
                "time cannot pass in a callback of the store's: it waits until callbacks have returned"
            )
        if self._news.wait_for(self._is_settled, _CALLBACK_SECONDS):
            return
        # Only callbacks of the program may be left to wait for: it may itself wait for the test.
        left = _SETTLE_SECONDS - _CALLBACK_SECONDS
        if self._news.wait_for(lambda: self._is_settled(callbacks=False), left):
            return
        idle = self._idle()
        busy = [str(one) for one in snapshot(self._work) if one not in idle]
        raise TimeoutError(
            f"the stores on {self!r} are still busy after {_SETTLE_SECONDS:g} s of real time, "
            f"with time standing still: {'; '.join(busy) or 'more and more is due at this time'}"
        )
