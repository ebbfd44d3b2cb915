"""Follower: an observer of one election."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import engine
from .backend.event_count import Waits, block_on
from .backend.validation import check_callback, check_timeout
from .engine.store_base import StoreBase, internals
from .errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from .backend.protocols import Closable, Leader
    from .events import FollowerEvent

__all__ = ["Follower"]

_TTL = 15.0  # seconds: a follower has no ttl, so the default one of a candidate


class Follower:
    """Follows an election without being a candidate.

    The constructor sends no request; the first of `start`, `follow_election`, `events` and
    `wait_leader` starts to watch. As a context manager it is started at the beginning and stopped at
    the end. All methods may be called from any thread, and from a signal handler.

    Args:
        store: the store, from `open_store`.
        key: the key of the election; the same as that of its candidates.
        on_leader: called with the leader of each `LeaderChanged`, None for no leader; one call at a
            time and in order, in a thread of this follower alone, as for `add_listener`.

    Raises:
        ConfigurationError: the key or the callback is invalid.
        StoreClosed: the store is closed.
        ForkedStore: the store belongs to the parent process.

    Example:
        >>> with Candidate(store, "service/api", "node-1"):
        ...     follower = Follower(store, "service/api")
        ...     leader = follower.wait_leader(timeout=5)
        ...     print(f"{leader} leads, with token {leader.token}")
        node-1 leads, with token 1
    """

    def __init__(
        self,
        store: StoreBase,
        key: str,
        *,
        on_leader: Callable[[Leader | None], object] | None = None,
    ) -> None:
        self._store = opened = internals(store)
        opened.guard()
        self._key = opened.namespace.normalise(key)
        if on_leader is not None:
            check_callback("on_leader", on_leader, "leader")
        self._control = engine.FollowerControl(opened, self._key)
        if on_leader is not None:
            self._control.call_for_leaders(on_leader)
        self._state = self._control.state

    @property
    def key(self) -> str:
        """The key of the election, normalised."""
        return self._key

    @property
    def leader(self) -> Leader | None:
        """The leader as last seen; None while there is none, or nothing is known yet.

        While the store cannot be reached it is the last one that was seen, and its `age` grows.

        Raises:
            ForkedStore: a forked child has no watch.
        """
        self._store.fork_guard()
        return self._state.leader

    def start(self) -> None:
        """Start to watch; does not block, and has no effect while it watches already.

        Raises:
            ConfigurationError: it was stopped.
            StoreRefused: it has ended because the store cannot be used as configured.
            StoreClosed: the store is closed.
            ForkedStore: the store belongs to the parent process.
        """
        self._store.guard()
        if self._state.stopped:
            raise self._state.broadcaster.error or ConfigurationError(
                f"the follower of {self._key} was stopped: a new run needs a new Follower"
            )
        self._control.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._store.forked:
            self.stop()

    def follow_election(self) -> Iterator[Leader | None]:
        """Start to watch, and return an iterator over the leaders; None stands for no leader.

        Each call returns an independent iterator, which begins with the present leader and has one
        value for each change after that. Each step blocks until there is one, without a limit. A
        leader that came and went between two steps is skipped. The iterator ends after `stop`.

        Raises:
            StoreClosed: the store is closed.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._store.guard()
        self._control.start()
        return engine.LeaderIterator(self._state)

    def events(self) -> Iterator[FollowerEvent]:
        """Start to watch, and return an iterator over typed events.

        These are `LeaderChanged`, `StoreDown` and `StoreUp`; the first one names the present leader,
        once that is known, and the last one is `Stopped`. Each step blocks until there is an event,
        without a limit.

        Raises:
            StoreClosed: the store is closed.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._store.guard()
        stream = self._control.stream()
        self._control.start()
        return stream

    def add_listener(self, callback: Callable[[FollowerEvent], object]) -> Closable:
        """Call a function with every event, as `events` yields them; does not block or start anything.

        The rules are those of `Candidate.add_listener`.

        Args:
            callback: an ordinary function, not a coroutine function.

        Returns:
            Its `close` lets no further call begin; it does not wait for one that is under way.

        Raises:
            ConfigurationError: the callback cannot be called with an event.
            ForkedStore: the store belongs to the parent process.
        """
        check_callback("callback", callback, "event")
        return self._control.listen(lambda event: engine.Call("callback", callback, event))

    def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """Start to watch, and block until there is a leader; returns the leader.

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
        return block_on(self._awaiting_leader(timeout))

    def _awaiting_leader(self, timeout: float | None) -> Waits[Leader | None]:
        """`wait_leader` as an operation."""
        self._store.guard()
        timeout = check_timeout(timeout)
        self._control.start()
        state = self._state
        changed = state.broadcaster.changed
        source = self._store.engine.context.time_source
        yield source.waiting_for_others(
            changed,
            lambda: state.leader or state.stopped,
            timeout,
            held=lambda: state.known and state.down is None,
        )
        if timeout is not None:  # the store has at least the time to answer once
            yield source.waiting_for_store(
                changed,
                lambda: state.answered or state.stopped,
                engine.first_answer_within(_TTL, timeout) - timeout,
            )
        if state.broadcaster.error is not None:
            raise state.broadcaster.error
        leader = state.leader
        if leader is None and not state.stopped and timeout is not None:
            unknown = f"nothing is known of the leader of {self._key} on {self._store.url}"
            if state.down is not None:
                raise StoreUnavailable(f"{unknown}: {state.down}") from state.down
            if not state.known:
                raise StoreUnavailable(f"{unknown}: it has not answered")
        return leader

    def stop(self) -> None:
        """Stop watching, and end all iterators; does not block.

        May be called repeatedly, from any thread, and from a signal handler.

        Raises:
            ForkedStore: the store belongs to the parent process.
        """
        self._store.fork_guard()
        self._control.begin_stop()

    def __repr__(self) -> str:
        return f"<Follower of {self.key} on {self._store.url}>"
