"""Waiting in an event loop: operations of the engine whose waits are awaited, without polling."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

from ..backend import clock
from ..backend.event_count import Wait, Waits
from ..engine.waiting_iterator import End, WaitingIterator
from .requests import in_thread

__all__ = ["AwaitingIterator", "begin", "run"]

T = TypeVar("T")
S = TypeVar("S")

_A_DAY = 86_400.0  # seconds; loops accept no timer that is much longer


async def run(operation: Waits[T]) -> T:
    """Run the operation, and await each of its waits; returns its result.

    If the task is cancelled, what the operation has begun goes on in the engine's threads.
    """
    try:
        while True:
            try:
                wait = next(operation)
            except StopIteration as end:
                result: T = end.value
                return result
            await _until(wait)
    finally:
        operation.close()


def begin(operation: Waits[object]) -> None:
    """Begin the operation, and do not wait for its end: where a coroutine must not await."""
    next(operation, None)
    operation.close()


async def _until(wait: Wait) -> None:
    if wait.timeout is not None and wait.timeout <= 0:
        return
    if (block := wait.blocking) is not None:  # on a virtual clock
        ended: list[None] = []
        try:
            await in_thread(lambda: block(lambda: ended or wait.predicate()), "leadership-wait")
        finally:
            ended.append(None)
        return
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    until = None if wait.timeout is None else clock.now() + wait.timeout

    # Weak, because it leads to the task: a loop that is closed drops its tasks, and so must this.
    # As long as the loop is open its timer keeps the task.
    reference = weakref.ref(woken)

    def wake() -> None:
        if (event := reference()) is not None:
            loop.call_soon_threadsafe(event.set)

    wait.event.subscribe(wake)
    try:
        # Read after the subscription, and after each notification: none falls in between.
        while not wait.predicate():
            left = _A_DAY if until is None else until - clock.now()
            if left <= 0:
                return
            timer = loop.call_later(min(left, _A_DAY), woken.set)
            try:
                await woken.wait()
            finally:
                timer.cancel()
            woken.clear()
    finally:
        wait.event.unsubscribe(wake)


class AwaitingIterator(AsyncIterator[T], Generic[S, T]):
    """An asynchronous iterator over what an iterator of the engine would block for.

    It holds nothing between two steps, so it may be abandoned, and used in any loop.

    Args:
        steps: an iterator of a candidate or follower for threads.
        convert: turns its values into those of this iterator.
    """

    def __init__(self, steps: Iterator[S], convert: Callable[[S], T]) -> None:
        assert isinstance(steps, WaitingIterator)
        self._steps: WaitingIterator[S] = steps
        self._convert = convert

    async def __anext__(self) -> T:
        value = await run(self._steps.step())
        if isinstance(value, End):
            raise StopAsyncIteration
        return self._convert(value)
