"""One thread that runs what is posted, in order, and what is due, in time.

All state machines of a store live in this thread, so they need no locks. Nothing that runs
here may block: requests go to `workers`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from math import isnan

from .. import clock
from ..errors import NotDone
from ..eventcount import EventCount
from ..reentry import interrupts, run_uninterruptible
from ..threads import join
from ..timing import LONGEST_WAIT
from .complaints import complain

__all__ = ["Scheduler", "Timer"]

log = logging.getLogger("leadership.engine")

Task = Callable[[], None]

_BREATH = 0.02  # seconds before the next try where nothing works


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
        """Let it not run; only in the scheduler's thread."""
        if self.task is not None:
            self.task = None
            self._cancelled()


class Scheduler:
    """Runs tasks one after the other; starts its thread with the first one.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._news = EventCount()
        self._tasks: deque[Task] = deque()
        self._timers: list[tuple[float, int, Timer]] = []  # the scheduler's thread's own
        self._order = itertools.count()
        self._cancelled = 0  # timers among `_timers`
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._ended = False  # nothing takes tasks any more

    def post(self, task: Task, *, or_here: bool = False) -> bool:
        """Run the task soon; from any thread, and from a signal handler.

        Args:
            task: what to run.
            or_here: run it in this thread if the scheduler's cannot be started: nothing has ever
                run then, so there is only something to end.

        Returns:
            False once the scheduler is closed.

        Raises:
            NotDone: the thread cannot be started now; the task is not queued.
        """
        if self._closed:
            return False
        try:
            self._start()
        except NotDone:
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
            NotDone: the scheduler's thread cannot be started now; there is no such timer.
        """
        if isnan(when):  # which would put all others out of order
            raise ValueError("no time to run a task at")
        timer = Timer(task, self._note_cancelled)
        entry = (when, next(self._order), timer)

        def push() -> None:
            if timer.task is not None:
                heapq.heappush(self._timers, entry)

        if self._is_here():
            push()
        else:
            self.post(push)
        return timer

    def _is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def close(self, timeout: float = 1.0) -> None:
        """End the thread once what was posted has run; timers are dropped.

        Args:
            timeout: seconds to wait for the thread.
        """
        self._closed = True
        self._news.notify_all()
        thread = self._thread
        if thread is not None:
            join(thread, timeout)

    @property
    def runs_here(self) -> bool:
        """Whether the calling code runs in its thread: it cannot wait for what is posted."""
        return threading.current_thread() is self._thread

    @property
    def starts_here(self) -> bool:
        """Whether the calling code, a signal handler, has interrupted the start of its thread."""
        return interrupts(self)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            run_uninterruptible(self, self._start_thread)

    def _start_thread(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            # Noted first, because a signal handler may post while the thread is being started; and
            # a thread that comes up although its start was interrupted finds that it is not wanted.
            self._thread = thread = threading.Thread(
                target=lambda: self._run(thread), name=self._name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                self._thread = None
                raise NotDone(f"no thread can be started now: {error}") from error
            except BaseException:
                self._thread = None
                raise

    def _note_cancelled(self) -> None:
        """Take the cancelled timers out once they are the most: their time may be hours away."""
        if not self._is_here():  # the timers are the scheduler's thread's own
            self.post(self._note_cancelled)
            return
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self._timers) // 2):
            self._timers = [one for one in self._timers if one[2].task is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run(self, thread: threading.Thread) -> None:
        with self._starting:
            if self._thread is not thread:
                return
        while (task := self._next_at_last()) is not None:
            try:
                task()
            except BaseException:  # noqa: BLE001  # one election must not end all the others
                complain(log, "engine.task_failed")
            del task  # while the thread waits, it must keep no store alive

    def _next_at_last(self) -> Task | None:
        while True:
            try:
                return self._next()
            except BaseException:  # noqa: BLE001  # to wait takes memory, too
                complain(log, "engine.scheduler_failed")
                if self._closed:
                    self._ended = True
                    return None
                time.sleep(_BREATH)

    def _next(self) -> Task | None:
        while True:
            now = clock.now()
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
                # A thread cannot wait for ever and a day; if nothing is due then, once more.
                due = self._timers[0][0] - now if self._timers else LONGEST_WAIT
                self._news.wait_for(lambda: self._tasks or self._closed, min(due, LONGEST_WAIT))
