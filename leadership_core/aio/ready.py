"""The `ready` function of a program, called in its event loop for the engine, which asks in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, TimeoutError as Late

from .callbacks import check_function

__all__ = ["ReadyInLoop"]

_LONGEST = 5.0  # seconds, as the engine waits


class ReadyInLoop:
    """Asks the function in the event loop; a loop that is blocked or closed is not ready.

    Args:
        ready: the function or coroutine function of the program.
        ttl: seconds; an answer may take a third of it.

    Raises:
        ConfigurationError: it cannot be called without arguments.
    """

    def __init__(self, ready: Callable[[], Awaitable[object] | object], ttl: float) -> None:
        check_function("ready", ready)
        self._ready = ready
        self._limit = min(ttl / 3, _LONGEST)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self) -> None:
        """Ask in the running event loop from now on; no effect the second time."""
        self._loop = self._loop or asyncio.get_running_loop()

    def __call__(self) -> object:
        """Ask, and block until there is an answer; in a thread of the engine."""
        loop = self._loop
        if loop is None:
            return False
        answer: Future[object] = Future()

        def start() -> None:
            if answer.set_running_or_notify_cancel():
                self._task = loop.create_task(self._ask(answer))

        try:
            loop.call_soon_threadsafe(start)
        except RuntimeError:  # the loop is closed
            return False
        try:
            return answer.result(self._limit)
        except Late:
            answer.cancel()  # unless it was asked
            return False

    async def finish(self) -> None:
        """Cancel a call that is under way, and wait for its end; not inside of it."""
        task = self._task
        if task is not None and task is not asyncio.current_task() and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _ask(self, answer: Future[object]) -> None:
        try:
            found = self._ready()
            if inspect.isawaitable(found):
                found = await found
        except asyncio.CancelledError:
            answer.set_result(False)
            raise
        except BaseException as error:  # noqa: BLE001 - raised where the engine asks
            answer.set_exception(error)
        else:
            answer.set_result(found)
