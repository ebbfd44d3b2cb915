"""Calls into a store with a time limit, and the pools of threads that make them."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from queue import SimpleQueue
from typing import TypeVar

from ..backend import clock
from ..backend.deadline import call_timeout
from ..backend.observation import hub
from ..backend.threads import join
from ..backend.time_source import TimeSource
from ..errors import ConfigurationError, ForkedStore, SessionLost, StoreClosed, StoreUnavailable
from .instrumentation import ObservedStore, observed_request

__all__ = ["EXPECTED_ERRORS", "WorkerPool", "call", "log_exception"]


log: logging.Logger = logging.getLogger("leadership.engine")

Job = Callable[[], None]
T = TypeVar("T")

_RETRY_SECONDS = 0.2  # before the next try to start a thread where there is none

EXPECTED_ERRORS = (StoreUnavailable, SessionLost, StoreClosed, ForkedStore, ConfigurationError)
"""What the requests of the engine may raise."""


def call(
    limit: float,
    request: Callable[[], T],
    store: ObservedStore,
    operation: str,
    key: str | None = None,
) -> T:
    """Make one request of the engine within `limit` seconds, and report it to observers.

    Blocks until the request returns; the limit is enforced by the store (`backend.deadline`).

    Args:
        limit: seconds.
        request: what to call.
        store: at which, for observers.
        operation: its name, for observers.
        key: of the backend, for observers.

    Raises:
        StoreUnavailable: as the store does; and for any exception that is none of these five,
            `BaseException`s such as asyncio's `CancelledError` included. That is a bug of the
            plugin: it is logged with its traceback, and treated as "no answer", which is safe.
        SessionLost: as the store does.
        StoreClosed: as the store does.
        ForkedStore: as the store does.
        ConfigurationError: as the store does.
    """
    if hub.active:
        short = None if key is None else store.short(key)
        return observed_request(store, operation, short, lambda: _call(limit, request))
    return _call(limit, request)


def _call(limit: float, request: Callable[[], T]) -> T:
    try:
        with call_timeout(limit):
            return request()
    except EXPECTED_ERRORS:
        raise
    except BaseException as error:  # the candidate that waits for this request must get an outcome
        log_exception(log, "store.unexpected_error")
        raise StoreUnavailable(f"the store failed: {type(error).__name__}: {error}") from error


def log_exception(log: logging.Logger, what: str) -> None:
    """Log the exception that is being handled, without letting it end an engine thread."""
    with suppress(BaseException):  # logging allocates memory, and may fail, too
        log.error(what, exc_info=sys.exc_info())


class WorkerPool:
    """Daemon threads that take jobs from one queue; they start as jobs come in.

    Args:
        name: of the threads.
        most: how many there may be.
        later: runs a task after so many seconds, in a thread that exists already.
        time_source: counts the jobs as work; without one they are not counted.
    """

    def __init__(
        self,
        name: str,
        most: int,
        later: Callable[[float, Job], object],
        time_source: TimeSource | None = None,
    ) -> None:
        self._name, self._most = name, most
        self._later = later
        self._begin_work = (time_source or TimeSource()).begin_work
        self._jobs: SimpleQueue[tuple[Job, AbstractContextManager[object]] | None] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit, too
        self._threads: list[threading.Thread] = []
        self._free = 0  # threads that wait for a job, less the jobs that wait for a thread
        self._closed = False
        self._retrying = False

    def submit(self, job: Job) -> None:
        """Queue the job, which reports its own outcome; exceptions that it raises are logged.

        If no thread can be started now, the job waits until one can.
        """
        with self._lock:
            if self._closed:
                return
            self._free -= 1
            self._jobs.put((job, self._begin_work()))
            self._start_wanted()

    def _start_wanted(self) -> None:
        """Start a thread if jobs wait for one and there may be more."""

        def start_again() -> None:
            with self._lock:
                self._retrying = False
                self._start_wanted()

        with self._lock:
            if self._closed or self._free >= 0 or len(self._threads) >= self._most:
                return
            try:
                self._start()
            except RuntimeError:  # no more threads for now, or the interpreter is about to end
                if self._threads or self._retrying:
                    return  # the threads that there are take the jobs in turn
                self._retrying = True
                log.warning("no thread %s can be started now: trying again", self._name)
                self._later(_RETRY_SECONDS, start_again)

    def ensure_started(self) -> None:
        """Start a thread if there is none: at interpreter exit none can be started any more.

        Raises:
            RuntimeError: no thread can be started now.
        """
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
                return  # the start was interrupted, and does not count on it
        while (taken := self._jobs.get()) is not None:
            job, work = taken
            with work:
                if self._closed:
                    continue
                try:
                    job()
                except BaseException:  # noqa: BLE001  # the pool has a fixed number of threads
                    log_exception(log, "engine.job_failed")
            del taken, job, work  # while the thread waits, it must keep no store alive
            with self._lock:
                self._free += 1
