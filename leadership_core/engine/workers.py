"""A few threads that make blocking calls for the scheduler.

Not `concurrent.futures`, whose threads are joined at interpreter exit: a store that hangs
must not keep the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from .complaints import complain

__all__ = ["Workers"]

log = logging.getLogger("leadership.engine")

Job = Callable[[], None]


class Workers:
    """Daemon threads that take jobs from one queue; they start as jobs come in.

    Args:
        name: of the threads.
        most: how many there may be.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit, too
        self._threads: list[threading.Thread] = []
        self._free = 0  # threads that wait for a job, less the jobs that wait for a thread
        self._closed = False

    def submit(self, job: Job) -> None:
        """Queue the job; it reports its own outcome, and what it raises is logged."""
        with self._lock:
            if self._closed:
                return
            self._free -= 1
            if self._free < 0 and len(self._threads) < self._most:
                try:
                    self._start()
                except RuntimeError:  # no more threads, or the interpreter is about to end
                    if not self._threads:
                        raise
        self._jobs.put(job)

    def ensure_started(self) -> None:
        """Have a thread ready: at interpreter exit none can be started any more."""
        with self._lock:
            if not self._threads and not self._closed:
                self._start()

    def close(self, timeout: float) -> None:
        """Take no more jobs, drop those that wait, and let the threads end.

        Args:
            timeout: seconds to wait for the threads; one that hangs in a call is left behind.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout / len(threads))

    def _start(self) -> None:
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)
        self._free += 1

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closed:
                continue
            try:
                job()
            except BaseException:  # noqa: BLE001  # there are only so many of these threads
                complain(log, "engine.job_failed")
            with self._lock:
                self._free += 1
