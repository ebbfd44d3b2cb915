"""The scheduler: one thread that runs posted tasks in order, and timers when they are due.

All state machines of a store run in this thread, so they need no locks. No task may block:
requests go to the pools of `executors`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import isnan

from ..backend.event_count import EventCount
from ..backend.threads import join
from ..backend.time_source import TimeSource
from ..backend.validation import LONGEST_WAIT
from ..errors import NotApplied
from .executors import log_exception
from .reentrancy import interrupts, run_uninterruptible

__all__ = ["Scheduler", "Timer"]

log: logging.Logger = logging.getLogger("leadership.engine")

Task = Callable[[], None]

_RETRY_SECONDS = 0.02  # after an exception in the loop itself
_FEW = 64  # cancelled timers that are not worth a pass over all of them


class Timer:
    """A task that will run at a time unless it is cancelled first.

    Args:
        task: what to run.
        cancelled: called once if it is cancelled before it has run.
    """

    __slots__ = ("_cancelled", "task")

    def __init__(self, task: Task, cancelled: Callable[[], None]) -> None:
        self.task: Task | None = task
        self._cancelled = cancelled

    def cancel(self) -> None:
        """Cancel it; only in the scheduler's thread."""
        if self.task is not None:
            self.task = None
            self._cancelled()


class Scheduler:
    """Runs tasks one after the other; starts its thread with the first one.

    Args:
        name: of the thread.
        time_source: of the timers.

    Attributes:
        time_source: as given.
    """

    def __init__(self, name: str, time_source: TimeSource | None = None) -> None:
        self._name = name
        self.time_source: TimeSource = time_source or TimeSource()
        self._now = self.time_source.clock
        self._news = EventCount()
        self._tasks: deque[Task] = deque()
        self._timers: list[tuple[float, int, Timer]] = []  # belongs to the scheduler's thread
        self._order = itertools.count()
        self._cancelled = 0  # timers among `_timers`
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._ended = False  # the thread takes no tasks any more

    def post(self, task: Task, *, or_here: bool = False) -> bool:
        """Run the task soon; from any thread, and from a signal handler.

        Args:
            task: what to run.
            or_here: run it in this thread if the scheduler's cannot be started: no task has ever
                run then, so the task can only end something.

        Returns:
            False once the scheduler is closed.

        Raises:
            NotApplied: the thread cannot be started now; the task is not queued.
        """
        if self._closed:
            return False
        try:
            if self._thread is None and not self._closed:
                run_uninterruptible(self, self._start_thread)
        except NotApplied:
            if not or_here:
                raise
            task()
            return True
        self._tasks.append(task)
        self._news.notify_all()
        if self._ended:  # it was closed a moment ago, and may not have seen the task
            try:
                self._tasks.remove(task)
            except ValueError:
                return True
            return False
        return True

    def call_at(self, when: float, task: Task) -> Timer:
        """Run the task at that time of the clock; from any thread.

        Raises:
            NotApplied: the scheduler's thread cannot be started now; there is no such timer.
        """
        if isnan(when):  # it would break the order of the heap
            raise ValueError("not a time for a task")
        timer = Timer(task, self._note_cancelled)
        entry = (when, next(self._order), timer)

        def push() -> None:
            if timer.task is not None:
                heapq.heappush(self._timers, entry)

        if self.runs_here:
            push()
        else:
            self.post(push)
        return timer

    def call_later(self, seconds: float, task: Task) -> Timer:
        """Run the task in so many seconds; as `call_at`, with its errors."""
        return self.call_at(self._now() + seconds, task)

    def close(self, timeout: float = 1.0) -> None:
        """End the thread once all posted tasks have run; timers are dropped.

        Args:
            timeout: seconds to wait for the thread.
        """
        self._closed = True
        self._news.notify_all()
        thread = self._thread
        if thread is not None:
            join(thread, timeout)

    @property
    def timers(self) -> int:
        """How many timers it keeps, with those that were cancelled and are not yet removed."""
        return len(self._timers)

    @property
    def runs_here(self) -> bool:
        """Whether the calling code runs in its thread, and so cannot wait for posted tasks."""
        return threading.current_thread() is self._thread

    @property
    def starts_here(self) -> bool:
        """Whether the calling code, a signal handler, has interrupted the start of its thread."""
        return interrupts(self)

    def _start_thread(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            # Noted first, because a signal handler may post while the thread is being started; and
            # a thread that comes up although its start was interrupted finds that it is not wanted.
            work = self.time_source.begin_work()
            self._thread = thread = threading.Thread(
                target=lambda: self._run(thread, work), name=self._name, daemon=True
            )
            try:
                thread.start()
            except BaseException as error:
                self._thread = None
                work.__exit__(None, None, None)
                if not isinstance(error, RuntimeError):
                    raise
                raise NotApplied(f"no thread can be started now: {error}") from error

    def _note_cancelled(self) -> None:
        """Remove the cancelled timers once they are the majority: their time may be hours away."""
        if not self.runs_here:  # the timers belong to the scheduler's thread
            self.post(self._note_cancelled)
            return
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self._timers) // 2):
            self._timers = [one for one in self._timers if one[2].task is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run(self, thread: threading.Thread, work: AbstractContextManager[object]) -> None:
        with self._starting:
            if self._thread is not thread:
                return
        with work:
            self._run_tasks()

    def _run_tasks(self) -> None:
        while True:
            try:
                task = self._next()
            except BaseException:  # noqa: BLE001  # waiting allocates memory, and may fail
                log_exception(log, "engine.scheduler_failed")
                if self._closed:
                    self._ended = True
                    return
                time.sleep(_RETRY_SECONDS)  # no memory: until there is some again
                continue
            if task is None:
                return
            try:
                task()
            except BaseException:  # noqa: BLE001  # one election must not end all the others
                log_exception(log, "engine.task_failed")
            del task  # while the thread waits, it must keep no store alive

    def _next(self) -> Task | None:
        while True:
            now = self._now()
            if self._timers and not self._closed and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                task, timer.task = timer.task, None
                if task is not None:
                    return task
                self._cancelled -= 1
            elif self._tasks:
                return self._tasks.popleft()
            elif self._closed:
                self._ended = True
                if not self._tasks:
                    return None
            else:
                # The longest wait of a lock is limited; if nothing is due then, wait again.
                due = self._timers[0][0] - now if self._timers else LONGEST_WAIT
                self.time_source.wait_for(
                    self._news, lambda: self._tasks or self._closed, min(due, LONGEST_WAIT)
                )
