"""A few threads that make blocking calls for the scheduler.

Not `concurrent.futures`, whose threads are joined at interpreter exit: a store that hangs
must not keep the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from .. import clock
from ..threads import join
from .complaints import complain

__all__ = ["Workers"]

log = logging.getLogger("leadership.engine")

Job = Callable[[], None]

_RETRY_SECONDS = 0.2  # before the next try to start a thread where there is none


class Workers:
    """Daemon threads that take jobs from one queue; they start as jobs come in.

    Args:
        name: of the threads.
        most: how many there may be.
        later: runs a task in so many seconds, in a thread that exists already.
    """

    def __init__(self, name: str, most: int, later: Callable[[float, Job], object]) -> None:
        self._name, self._most = name, most
        self._later = later
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit, too
        self._threads: list[threading.Thread] = []
        self._free = 0  # threads that wait for a job, less the jobs that wait for a thread
        self._closed = False
        self._retrying = False

    def submit(self, job: Job) -> None:
        """Queue the job; it reports its own outcome, and what it raises is logged.

        If no thread can be started now, the job waits until one can.
        """
        with self._lock:
            if self._closed:
                return
            self._free -= 1
            self._jobs.put(job)
            self._start_wanted()

    def _start_wanted(self) -> None:
        """Start a thread if jobs wait for one and there may be more."""
        with self._lock:
            if self._closed or self._free >= 0 or len(self._threads) >= self._most:
                return
            try:
                self._start()
            except RuntimeError:  # no more threads for now, or the interpreter is about to end
                if not self._threads:  # otherwise those that there are take the jobs in turn
                    self._retry()

    def _retry(self) -> None:
        if self._retrying:
            return
        self._retrying = True
        log.warning("no thread %s can be started now: trying again", self._name)
        self._later(_RETRY_SECONDS, self._start_again)

    def _start_again(self) -> None:
        with self._lock:
            self._retrying = False
            self._start_wanted()

    def ensure_started(self) -> None:
        """Have a thread ready: at interpreter exit none can be started any more."""
        with self._lock:
            if not self._threads and not self._closed:
                self._start()

    def close(self, timeout: float) -> None:
        """Take no more jobs, drop those that wait, and let the threads end.

        Args:
            timeout: seconds to wait for all of them; one that hangs in a call is left behind.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        until = clock.now() + timeout
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            join(thread, max(0.0, until - clock.now()))

    def _start(self) -> None:
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=lambda: self._run(thread), name=name, daemon=True)
        self._threads.append(thread)
        self._free += 1
        try:
            thread.start()
        except BaseException:
            self._threads.remove(thread)
            self._free -= 1
            raise

    def _run(self, thread: threading.Thread) -> None:
        with self._lock:
            if thread not in self._threads:
                return  # whoever started it was interrupted and does not count on it
        while (job := self._jobs.get()) is not None:
            if self._closed:
                continue
            try:
                job()
            except BaseException:  # noqa: BLE001  # there are only so many of these threads
                complain(log, "engine.job_failed")
            del job  # while the thread waits, it must keep no store alive
            with self._lock:
                self._free += 1
