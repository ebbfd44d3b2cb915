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
from ..timing import LONGEST_WAIT
from .complaints import complain

__all__ = ["Scheduler", "Timer"]

log = logging.getLogger("leadership.engine")

Task = Callable[[], None]

_BREATH = 0.02  # seconds before the next try where nothing works


class Timer:
    """A task that will run at a time unless it is cancelled first."""

    __slots__ = ("task",)

    def __init__(self, task: Task) -> None:
        self.task: Task | None = task

    def cancel(self) -> None:
        """Let it not run; only in the scheduler's thread."""
        self.task = None


class Scheduler:
    """Runs tasks one after the other; starts its thread with the first one.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._news = threading.Condition()  # reentrant: a signal handler may post, too
        self._tasks: deque[Task] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def post(self, task: Task) -> bool:
        """Run the task soon; from any thread. False once the scheduler is closed."""
        with self._news:
            if self._closed:
                return False
            self._tasks.append(task)
            self._start()
            self._news.notify()
        return True

    def call_at(self, when: float, task: Task) -> Timer:
        """Run the task at that time of the clock; from any thread."""
        if isnan(when):  # which would put all others out of order
            raise ValueError("no time to run a task at")
        timer = Timer(task)
        with self._news:
            heapq.heappush(self._timers, (when, next(self._order), timer))
            self._start()
            self._news.notify()
        return timer

    def close(self) -> None:
        """End the thread once what was posted has run; timers are dropped."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (task := self._next_at_last()) is not None:
            try:
                task()
            except BaseException:  # noqa: BLE001  # one election must not end all the others
                complain(log, "engine.task_failed")

    def _next_at_last(self) -> Task | None:
        while True:
            try:
                return self._next()
            except BaseException:  # noqa: BLE001  # to wait takes memory, too
                complain(log, "engine.scheduler_failed")
                if self._closed:
                    return None
                time.sleep(_BREATH)

    def _next(self) -> Task | None:
        with self._news:
            while self._tasks or not self._closed:
                now = clock.now()
                if self._timers and not self._closed and self._timers[0][0] <= now:
                    task = heapq.heappop(self._timers)[2].task
                    if task is not None:
                        return task
                elif self._tasks:
                    return self._tasks.popleft()
                else:
                    # A thread cannot wait for ever and a day; if nothing is due then, once more.
                    due = self._timers[0][0] - now if self._timers else None
                    self._news.wait(due and min(due, LONGEST_WAIT))
        return None
