"""Watch of a store, for programs on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from weakref import finalize

from ..backend.entries import Change
from ..backend.event_count import EventCount, Wait, Waits
from ..backend.protocols import Closable
from ..errors import LeadershipError
from .callbacks import Callbacks, check_function
from .requests import Requests
from .waiting import run

__all__ = ["Watch"]

Open = Callable[[Callable[[Change], None]], Closable]


class _Subscription:
    """What a watch leaves at the store: it is opened and closed in threads, in whatever order.

    Args:
        open_watch: opens the watch of the store, with the function that it reports to.
    """

    def __init__(self, open_watch: Open) -> None:
        self.changed = EventCount()
        self.latest: deque[list[Change]] = deque(maxlen=1)  # a state replaces the one before
        self.closed = False
        self._open_watch = open_watch
        self._closable: Closable | None = None

    def report(self, change: Change) -> None:
        """Keep the state for the reader; in any thread."""
        self.latest.append([change])
        self.changed.notify_all()

    def open(self) -> None:
        """Open the watch of the store; blocks."""
        self._closable = self._open_watch(self.report)
        if self.closed:  # read afterwards: `close` finds the watch, or this does
            self._closable.close()

    def close(self) -> None:
        """Close the watch of the store, or let `open` do so; blocks while a report is under way."""
        self.end()
        if self._closable is not None:
            with suppress(LeadershipError):  # the store is closed, say, and the watch with it
                self._closable.close()

    def end(self) -> None:
        """Let the reader end; from any thread."""
        self.closed = True
        self.changed.notify_all()

    def take(self) -> list[Change] | None:
        """Return the state to be delivered next, in a list; None if there is none."""
        try:
            return None if self.closed else self.latest.popleft()
        except IndexError:
            return None


class Watch(AsyncIterator[Change]):
    """The states of a key or a tree, from `Store.watch`; an asynchronous iterator.

    It is opened by the first step, by `async with`, or by awaiting it, and ends when it or
    the store is closed. `async with` closes it at the end; one that is abandoned is closed in the
    background. One with a callback runs until it is closed.

    Args:
        requests: the threads for its requests.
        open_watch: opens the watch of the store, with the function that it reports to.
        on_change: a function or coroutine function; None for an iterator.

    Example:
        >>> async with store.watch("service/config") as changes:
        ...     async for change in changes:
        ...         print(change)
        ...         break
        None
    """

    def __init__(
        self,
        requests: Requests,
        open_watch: Open,
        on_change: Callable[[Change], Awaitable[object] | object] | None,
    ) -> None:
        if on_change is not None:
            check_function("on_change", on_change, "change")
        self._requests = requests
        self._on_change = on_change
        self._subscription = _Subscription(open_watch)
        self._callbacks: Callbacks[list[Change]] | None = None
        self._opened = False
        self._error: Exception | None = None
        if on_change is None:
            finalize(self, requests.post, self._subscription.close).atexit = False

    async def open(self) -> Self:
        """Open it, if it is not open; the same as awaiting it.

        Raises:
            StoreUnavailable: no answer in time.
        """
        if self._opened:
            return self
        subscription, on_change = self._subscription, self._on_change
        if on_change is not None and self._callbacks is None:
            self._callbacks = Callbacks(
                subscription.changed, subscription.take, lambda taken: on_change(taken[0])
            )
        self._opened = True
        try:
            await self._requests.call(subscription.open)
        except asyncio.CancelledError:  # the watch may be open, and is closed as soon as it is
            self.end()
            raise
        except Exception as error:
            self._error = error
            self.end()
            raise
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __anext__(self) -> Change:
        await self.open()
        taken = await run(self._step())
        if taken is None:
            raise StopAsyncIteration
        return taken[0]

    def _step(self) -> Waits[list[Change] | None]:
        subscription = self._subscription
        while not subscription.closed:
            taken = subscription.take()
            if taken is not None:
                return taken
            yield Wait(subscription.changed, lambda: subscription.closed or subscription.latest)
        if self._error is not None:  # it was opened by another task
            raise self._error
        return None

    def end(self) -> None:
        """Deliver nothing any more, and let the iterator end; does not wait."""
        self._subscription.end()
        if self._callbacks is not None:
            self._callbacks.close()

    async def close(self) -> None:
        """End it: no call of the callback begins after this has returned. May be called repeatedly.

        Waits for a call that is under way, unless this is called inside of it.
        """
        self.end()
        if self._opened:
            with suppress(LeadershipError):  # the store is closed, and the watch with it
                await self._requests.call(self._subscription.close)
        if self._callbacks is not None:
            await self._callbacks.finish()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):  # the loop has ended before the task
            self.end()
            self._requests.post(self._subscription.close)
        else:
            await self.close()
