"""Callbacks of a program, called in its event loop: one at a time, and in order."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..backend.event_count import EventCount
from ..backend.validation import check_callback, safe_repr

__all__ = ["Callbacks", "check_function"]

log: logging.Logger = logging.getLogger("leadership.aio")

T = TypeVar("T")


def check_function(name: str, function: object, *arguments: str) -> None:
    """Raise `ConfigurationError` unless it is a function or coroutine function for these arguments."""
    check_callback(name, function, *arguments, coroutines=True)


class Callbacks(Generic[T]):
    """Calls a function with each of the values that a source has, in the loop of its creation.

    A coroutine function is awaited before the next call. There is a task only while there is
    something to call, so nothing is left when the loop ends. What the function raises is logged.

    Args:
        changed: notified when there may be a value.
        take: returns the next value, or None; called in the loop.
        function: what to call; a function or a coroutine function.
        ends: whether the value is the last one.
        name: of the function, for the log; by default its `repr`.
    """

    def __init__(
        self,
        changed: EventCount,
        take: Callable[[], T | None],
        function: Callable[[T], Awaitable[object] | object],
        ends: Callable[[T], bool] = lambda _: False,
        name: str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._take = take
        self._function = function
        self._ends = ends
        self._name = name or safe_repr(function)
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        changed.subscribe(self._wake)
        self._wake()

    def close(self) -> None:
        """Begin no further call; one that is under way goes on. From any thread."""
        self._closed = True
        self._changed.unsubscribe(self._wake)

    async def finish(self) -> None:
        """Wait until all that there is has been called; no wait inside of the function itself."""
        self._start()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task])

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._start)
        except RuntimeError:  # the loop is closed: nothing can be called any more
            self.close()

    def _start(self) -> None:
        """In the loop: start a task for what there is, unless one is at work."""
        if self._closed or (self._task is not None and not self._task.done()):
            return
        value = self._take()
        if value is not None:
            self._task = self._loop.create_task(self._run(value))

    async def _run(self, value: T | None) -> None:
        while value is not None and not self._closed:
            try:
                result = self._function(value)
                if inspect.isawaitable(result):
                    await result
            except (SystemExit, KeyboardInterrupt, GeneratorExit):  # the loop ends, or has ended
                raise
            except BaseException as error:
                task = asyncio.current_task()
                cancelled = isinstance(error, asyncio.CancelledError)
                if cancelled and (task is None or task.cancelling()):  # the loop is ending
                    raise
                log.exception("callback.failed: %s", self._name)
            if self._ends(value):
                self.close()
            value = self._take()
