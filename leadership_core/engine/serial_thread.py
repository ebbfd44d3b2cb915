"""A thread that runs jobs of the user's code one after the other, and may hang in one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias
from weakref import finalize, ref

from ..backend.threads import start_daemon
from ..errors import NotApplied
from .executors import log_exception
from .scheduler import Scheduler

__all__ = ["SerialThread"]

log: logging.Logger = logging.getLogger("leadership.engine")

Job: TypeAlias = Callable[[], None]
_Jobs: TypeAlias = "SimpleQueue[Job | None]"

_RETRY_SECONDS = 0.2  # before the next try to start the thread


class SerialThread:
    """A daemon thread that starts with the first job.

    While it waits it refers to its queue alone, so it keeps no store from being collected, and it
    ends when this object is. A forked child has no such thread; if a job has forked, it is the last
    one in the child.

    Args:
        name: of the thread.
        scheduler: tries again later where no thread can be started.
    """

    def __init__(self, name: str, scheduler: Scheduler) -> None:
        self._name = name
        self._scheduler = scheduler
        self._jobs: _Jobs = SimpleQueue()
        self._unstarted: list[None] = [None]  # the one call that pops it starts the thread
        # By a weak reference: a job that waits refers to what this object belongs to.
        finalize(self, _end, ref(self._jobs)).atexit = False

    def submit(self, job: Job) -> None:
        """Run the job after those that were submitted before; exceptions that it raises are logged."""
        work = self._scheduler.time_source.begin_work(callback=True)
        self._jobs.put(partial(_run_counted, work, job))
        self._start()

    def end(self) -> None:
        """Let the thread end after the jobs that were submitted; another job starts it again."""
        self._jobs.put(None)

    def _start(self) -> None:
        """Start the thread, unless there is one, or it has done all and ended meanwhile."""
        while not self._jobs.empty():
            if not _pop(self._unstarted):
                return
            if not self._jobs.empty():
                self._start_thread()
                return
            self._unstarted.append(None)

    def _start_thread(self) -> None:
        try:
            start_daemon(partial(_run, self._jobs, self._unstarted), self._name)
        except NotApplied as error:
            self._unstarted.append(None)
            log.warning("no thread %s: %s", self._name, error)
            with suppress(NotApplied):
                self._scheduler.call_later(_RETRY_SECONDS, self._start)
        except BaseException:
            self._unstarted.append(None)
            raise


def _end(jobs: ref[_Jobs]) -> None:
    queue = jobs()
    if queue is not None:
        queue.put(None)


def _pop(tokens: list[None]) -> bool:
    try:
        tokens.pop()
    except IndexError:
        return False
    return True


def _run_counted(work: AbstractContextManager[object], job: Job) -> None:
    with work:
        job()


def _run(jobs: _Jobs, unstarted: list[None]) -> None:
    """Run jobs until there is None, and nothing after it."""
    process = os.getpid()
    while True:
        job = jobs.get()
        if job is not None:
            try:
                job()
            except BaseException:  # noqa: BLE001 - no memory: the next job needs the thread
                log_exception(log, "engine.job_failed")
            del job  # while the thread waits, it must keep no store alive
            if os.getpid() != process:
                return
            continue
        unstarted.append(None)
        if jobs.empty() or not _pop(unstarted):
            return
