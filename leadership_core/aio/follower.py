"""Follower of an election, for programs on asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from .. import follower
from ..backend.protocols import Closable, Leader
from ..events import FollowerEvent, LeaderChanged, Stopped
from .callbacks import Callbacks, check_function
from .store import Store, opened_by
from .waiting import AwaitingIterator, run

__all__ = ["Follower"]


class Follower:
    """Follows an election without being a candidate.

    As `leadership_core.Follower`: the same names and meanings, but what blocks there is awaited
    here. As an asynchronous context manager it starts to watch at the beginning and is
    stopped at the end.

    Args:
        store: the store, from `leadership_core.aio.open_store`.
        key: the key of the election; the same as that of its candidates.
        on_leader: a function or coroutine function, called with each `Leader`, and with None when
            there is none; in the event loop in which the follower was started, one call at a time
            and in order. What it raises is logged.

    Raises:
        ConfigurationError: an argument is invalid.
        StoreClosed: the store is closed.
        ForkedStore: the store belongs to the parent process.

    Example:
        >>> async with Candidate(store, "service/api", "node-1"):
        ...     async with Follower(store, "service/api") as follower:
        ...         leader = await follower.wait_leader(timeout=5)
        ...         print(f"{leader} leads, with token {leader.token}")
        node-1 leads, with token 1
    """

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        on_leader: Callable[[Leader | None], Awaitable[object] | object] | None = None,
    ) -> None:
        if on_leader is not None:
            check_function("on_leader", on_leader, "leader")
        self._store = store
        self._opened = opened_by(store)
        self._on_leader = on_leader
        self._follower = follower.Follower(store.blocking, key)
        self._control = self._follower._control  # noqa: SLF001 - two faces of one follower
        self._callbacks: list[Callbacks[FollowerEvent]] = []

    @property
    def key(self) -> str:
        """The key of the election, normalised."""
        return self._follower.key

    @property
    def leader(self) -> Leader | None:
        """The leader as last seen; None while there is none, or nothing is known yet.

        While the store cannot be reached it is the last one that was seen, and its `age` grows.

        Raises:
            ForkedStore: a forked child has no watch.
        """
        return self._follower.leader

    def start(self) -> None:
        """Start to watch; does not block, and has no effect while it watches already.

        Raises:
            ConfigurationError: it was stopped.
            StoreRefused: it has ended because the store cannot be used as configured.
            StoreClosed: the store is closed.
            ForkedStore: the store belongs to the parent process.
            RuntimeError: it has a callback, and no event loop is running.
        """
        self._start_callbacks()
        self._follower.start()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened.forked:
            return
        if isinstance(error, GeneratorExit):  # the loop has ended before the task
            self._control.begin_stop()
        else:
            await self.stop()

    def follow_election(self) -> AsyncIterator[Leader | None]:
        """Start to watch, and return an iterator over the leaders; None stands for no leader.

        Each call returns an independent iterator, which begins with the present leader and has one
        value for each change after that. A leader that came and went between two steps is skipped.
        The iterator ends after `stop`.

        Raises:
            StoreClosed: the store is closed.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._start_callbacks()
        return AwaitingIterator(self._follower.follow_election(), lambda leader: leader)

    def events(self) -> AsyncIterator[FollowerEvent]:
        """Start to watch, and return an iterator over typed events.

        These are `LeaderChanged`, `StoreDown` and `StoreUp`; the first one names the present leader,
        once that is known, and the last one is `Stopped`.

        Raises:
            StoreClosed: the store is closed.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._start_callbacks()
        return AwaitingIterator(self._follower.events(), lambda event: event)

    async def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """Start to watch, and wait until there is a leader; returns the leader.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as it has answered, after five seconds at most.

        Returns:
            None if the store says that there is no leader, and none is elected in time; or if the
            follower is stopped. While the store cannot be reached, the leader as last seen.

        Raises:
            StoreUnavailable: no leader is known, because the store cannot be reached, or has not
                answered.
            StoreRefused: the store cannot be used as configured, and has never worked.
            StoreClosed: the store is closed.
        """
        self._start_callbacks()
        return await run(self._follower._awaiting_leader(timeout))  # noqa: SLF001 - two faces of one follower

    async def stop(self) -> None:
        """Stop watching, and end all iterators; waits for a callback that is under way.

        May be called repeatedly, and in any task.

        Raises:
            ForkedStore: the store belongs to the parent process.
        """
        self._follower.stop()
        for callbacks in self._callbacks:
            await callbacks.finish()

    def add_listener(
        self, callback: Callable[[FollowerEvent], Awaitable[object] | object]
    ) -> Closable:
        """Call a function with every event, as `events` yields them; does not start anything.

        The rules are those of `leadership_core.aio.Candidate.add_listener`.

        Args:
            callback: a function or coroutine function.

        Returns:
            Its `close` lets no further call begin; it does not wait for one that is under way.

        Raises:
            ConfigurationError: the callback cannot be called with an event.
            RuntimeError: no event loop is running.
        """
        check_function("callback", callback, "event")
        self._opened.fork_guard()
        stream = self._control.stream()
        changed = self._control.state.broadcaster.changed
        callbacks: Callbacks[FollowerEvent] = Callbacks(changed, stream.take, callback, _is_last)
        self._callbacks.append(callbacks)
        return callbacks

    def _start_callbacks(self) -> None:
        on_leader, self._on_leader = self._on_leader, None  # no effect the second time
        if on_leader is None:
            return

        def call(event: FollowerEvent) -> Awaitable[object] | object:
            return on_leader(event.leader) if isinstance(event, LeaderChanged) else None

        try:
            self.add_listener(call)
        except RuntimeError:  # no loop is running: it can be started in one
            self._on_leader = on_leader
            raise

    def __repr__(self) -> str:
        return f"<aio.{repr(self._follower)[1:]}"


def _is_last(event: FollowerEvent) -> bool:
    return isinstance(event, Stopped)
