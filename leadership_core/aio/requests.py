"""Requests to a store in threads of its own, awaited by tasks of any loop."""

from __future__ import annotations

import _thread
import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from ..backend import clock
from ..backend.deadline import DEFAULT_TIMEOUT, call_timeout
from ..backend.threads import start_daemon
from ..engine.executors import WorkerPool
from ..engine.open_store import OpenStore
from ..errors import NotApplied, StoreClosed

__all__ = ["MOST_THREADS", "Requests", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

MOST_THREADS = 8
"""Threads of one store for the requests of coroutines."""

_JOIN_SECONDS = 0.2  # for threads that hang in a request after the store was closed


class Requests:
    """Makes requests in a few threads, which start as they are needed.

    The loop's default executor is not used: tasks of the program may fill it for minutes.

    Args:
        opened: the open store.
    """

    def __init__(self, opened: OpenStore) -> None:
        self._opened = opened
        self._pool = WorkerPool("leadership-aio", MOST_THREADS, opened.engine.scheduler.call_later)
        self._waiting: dict[asyncio.Future[Any], asyncio.AbstractEventLoop] = {}
        self._closed = False

    async def call(self, request: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the request, within five seconds from now, the wait for a thread included.

        Cancelled while it waits for a thread, it is not sent. Cancelled later, it goes on, and its
        outcome is dropped.

        Raises:
            NotApplied: no thread was free in time.
            StoreClosed: the store was closed meanwhile.
        """
        self._opened.guard()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        until = clock.now() + DEFAULT_TIMEOUT
        context = copy_context()

        def make() -> T:
            left = until - clock.now()
            if left <= 0:
                raise NotApplied(
                    f"no thread was free for {DEFAULT_TIMEOUT:g} s: {MOST_THREADS} requests to "
                    f"{self._opened.url} are under way"
                )
            with call_timeout(left):
                return request(*args, **kwargs)

        def job() -> None:
            if outcome.cancelled():
                return
            try:
                result = context.run(make)
            except BaseException as error:  # noqa: BLE001 - raised where the task awaits
                _post(loop, _fail, outcome, error)
            else:
                _post(loop, _succeed, outcome, result)
            self._waiting.pop(outcome, None)  # the loop may be closed, and the task never go on

        self._waiting[outcome] = loop
        try:
            self._pool.submit(job)
            if self._closed:  # read afterwards: `close` finds it, or this does
                raise StoreClosed(f"{self._opened.url} is closed")
            return await outcome
        finally:
            self._waiting.pop(outcome, None)
            _settle(outcome)

    def post(self, job: Callable[[], None]) -> None:
        """Let a thread do the job; for a finalizer, which may run in any thread with any lock held."""
        with suppress(RuntimeError):  # the process has no more threads, or is about to end
            _thread.start_new_thread(self._pool.submit, (job,))

    def close(self) -> None:
        """End the threads; requests without an answer fail. Blocks for a moment."""
        self._closed = True
        self._pool.close(_JOIN_SECONDS)
        for outcome, loop in list(self._waiting.items()):
            _post(loop, _fail, outcome, StoreClosed(f"{self._opened.url} was closed"))

    def drop(self) -> None:
        """Let the threads end; does not wait. For a store that is garbage."""
        self._pool.close(0)


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Call the function in a new daemon thread, and await its result.

    If the task is cancelled, the function goes on.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - raised where the task awaits
            _post(loop, _fail, outcome, error)
        else:
            _post(loop, _succeed, outcome, result)

    start_daemon(run, name)
    try:
        return await outcome
    finally:
        _settle(outcome)


def _settle(outcome: asyncio.Future[T]) -> None:
    """Let asyncio not report an outcome that came after the task was cancelled."""
    if not outcome.cancel() and not outcome.cancelled():
        outcome.exception()


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    with suppress(RuntimeError):  # the loop is closed, and so nothing awaits
        loop.call_soon_threadsafe(call, *args)


def _succeed(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():  # or it was cancelled
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
