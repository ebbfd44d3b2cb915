"""A follower: what a program holds that wants to know who leads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from .engine import engine_of
from .engine.follower_runner import FollowerRunner
from .errors import StoreUnavailable
from .events import Event, LeaderChanged, Stopped, StoreDown, StoreUp
from .store import Leader
from .stories import Announcer
from .text import one_line
from .timing import check_timeout, first_answer_within

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["Follower"]

log = logging.getLogger("leadership.follower")

_TTL = 15.0  # seconds: a follower has none of its own, so that of a candidate by default


class Follower:
    """Watches an election without standing in it.

    The constructor contacts nobody; the first of `follow_election`, `events` and `wait_leader`
    starts to watch. All methods may be called from any thread.

    Args:
        store: from `open_store`.
        key: the election; the same as that of its candidates.

    Raises:
        ConfigurationError: the key cannot work.
        StoreClosed: the store is closed.
        ForkedStore: the store is that of the parent process.
    """

    def __init__(self, store: StoreHandle, key: str) -> None:
        self._engine = engine_of(store)
        self.key = store.normalise(key)
        self._store = store
        self._view = _View(self.key, store.fork_guard)
        self._changed = self._view.announcer.changed
        self._runner = FollowerRunner(self._engine, store.full_key(self.key), self._view)
        self._started = False

    @property
    def leader(self) -> Leader | None:
        """The leader as last seen; None while there is none, or nothing is known yet.

        While the store cannot be reached it is the last one, and its `age` grows.

        Raises:
            ForkedStore: nobody watches in a forked child.
        """
        self._store.fork_guard()
        return self._view.leader

    def follow_election(self) -> Iterator[Leader | None]:
        """Start to watch, and return an iterator over the leaders; None stands for no leader.

        Each call returns an iterator of its own that begins with the leader of now, and then
        has one value for each change; each step blocks until there is one. Leaders that came
        and went between two steps are left out. It ends after `stop`.

        Raises:
            StoreRefused: from the iterator, when the store cannot be used as configured and
                has never worked.
        """
        self._store.guard()
        self._start()
        return _Leaders(self._view)

    def events(self) -> Iterator[Event]:
        """Start to watch, and return an iterator over all that happens, as typed events.

        `LeaderChanged`, `StoreDown` and `StoreUp`; the first is the leader of now, once it is
        known, and the last is `Stopped`.
        """
        self._store.guard()
        story = self._view.announcer.story()
        self._start()
        return story

    def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """Start to watch, and block until somebody leads; returns who.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as it has answered, at most after five seconds.

        Returns:
            None if nobody leads in time, or the follower is stopped.
        """
        self._store.guard()
        timeout = check_timeout(timeout)
        self._start()
        with self._changed:
            self._changed.wait_for(lambda: self._view.leader or self._view.stopped, timeout)
            if timeout is not None:  # the store has at least the time to answer once
                self._changed.wait_for(
                    lambda: self._view.answered or self._view.stopped,
                    first_answer_within(_TTL, timeout) - timeout,
                )
            if self._view.announcer.error is not None:
                raise self._view.announcer.error
            return self._view.leader

    def stop(self) -> None:
        """Stop watching, and end all iterators. May be called again, and from any thread."""
        self._store.fork_guard()
        self.begin_stop()

    def begin_stop(self) -> None:
        """Stop watching; waits for nothing."""
        self._engine.scheduler.post(self._runner.stop, or_here=True)
        self._view.end()
        self._engine.remove(self)

    def await_stop(self, timeout: float) -> bool:
        """There is nothing to wait for: a follower holds nothing at the store."""
        return self._view.stopped

    def abandon(self) -> None:
        """End all iterators."""
        self._view.end()

    def _start(self) -> None:
        with self._changed:
            if self._started or self._view.stopped:
                return
            self._started = True
        try:
            self._engine.add(self)
            self._runner.start()
        except BaseException:  # no thread can be started now: the next call tries again
            self._started = False
            self._engine.remove(self)
            raise

    def __repr__(self) -> str:
        return f"<Follower of {self.key} on {self._store.url}>"


class _View:
    """What is known about the leader; the engine writes it in the scheduler's thread."""

    def __init__(self, key: str, guard: Callable[[], None]) -> None:
        self.announcer = Announcer(guard)
        self.leader: Leader | None = None
        self.known = False
        self.stopped = False
        self._down = False
        self._last: Leader | None = None  # who led, even if nobody does now
        self._key = key

    @property
    def answered(self) -> bool:
        """Whether the store has answered, or failed to."""
        return self.known or self._down

    def sees(self, leader: Leader | None) -> None:
        if self._down:
            self._down = False
            self._tell(StoreUp())
        before, self.leader = self.leader, leader
        if self.known and leader == before:
            return  # confirmed: its age begins anew
        last, self._last = self._last, leader or self._last
        if leader is not None and last is not None and leader.token < last.token:
            log.warning(
                "the store has lost history: the token of %s went from %d to %d",
                self._key,
                last.token,
                leader.token,
            )
        self.known = True
        self._tell(LeaderChanged(leader))

    def trouble(self, error: StoreUnavailable) -> None:
        if not self._down:
            self._down = True
            log.warning("%s store_down: %s", self._key, one_line(error))
            self._tell(StoreDown(error))

    def fail(self, error: Exception) -> None:
        self.announcer.error = error
        self.end()

    def end(self) -> None:
        with self.announcer.changed:
            if self.stopped:
                return
            self.stopped = True
        self.announcer.announce(Stopped())

    def _tell(self, event: Event) -> None:
        if not self.stopped:
            self.announcer.announce(event)


class _Leaders:
    """An iterator over leaders. It has no queue: each step compares with what was told last."""

    def __init__(self, view: _View) -> None:
        self._view = view
        self._told: Leader | None = None
        self._first = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Leader | None:
        view = self._view
        view.announcer.guard()
        with view.announcer.changed:
            view.announcer.changed.wait_for(lambda: view.stopped or self._has_news())
            if view.stopped:
                if view.announcer.error is not None:
                    raise view.announcer.error
                raise StopIteration
            self._first = False
            self._told = view.leader
            return self._told

    def _has_news(self) -> bool:
        return self._view.known and (self._first or self._view.leader != self._told)
