"""Delayed tasks: a thread that makes requests for the watches, so that the watch thread never waits."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from leadership_core.backend import call_timeout, clock, remaining_timeout, start_daemon

__all__ = ["DelayedTasks"]

log: logging.Logger = logging.getLogger(__name__)

_TASK_TIMEOUT = 3.0  # seconds

Task = Callable[[], None]


class DelayedTasks:
    """Runs tasks one after the other in one thread, each when it is due; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: list[tuple[float, int, Task]] = []  # a heap, by their times
        self._order = itertools.count()
        self._pending: set[Task] = set()  # of `call_soon_once`
        self._thread: threading.Thread | None = None
        self._closed = False

    def call_later(self, delay: float, task: Task) -> None:
        """Run a task in `delay` seconds, with a limit of 3 s for its requests; returns at once.

        Raises:
            NotApplied: the thread is not there yet and cannot be started now.
        """
        with self._changed:
            if self._closed:
                return
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-etcd-read")
            heapq.heappush(self._tasks, (clock.now() + delay, next(self._order), task))
            self._changed.notify()

    def call_soon_once(self, task: Task) -> None:
        """Run the task soon, unless an equal task still waits to be run; raises as `call_later`."""

        def run() -> None:
            self._pending.discard(task)
            task()

        with self._changed:
            if task in self._pending:
                return
            self._pending.add(task)
        try:
            self.call_later(0.0, run)
        except BaseException:
            self._pending.discard(task)
            raise

    def close(self) -> None:
        """Run no more tasks; the thread ends after the one that is under way."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify()

    def join(self) -> None:
        """Wait for the end of the thread, within the remaining timeout."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    wait = self._tasks[0][0] - clock.now() if self._tasks else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._closed:
                    return
                task = heapq.heappop(self._tasks)[2]
            try:
                with call_timeout(_TASK_TIMEOUT):
                    task()
            except Exception:  # one that fails must not end the others
                log.exception("A delayed task of a watch has failed")
            del task  # a reference of the waiting thread would keep the store alive
