"""A follower: what a program holds that wants to know who leads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from .engine.follower_runner import FollowerRunner
from .errors import StoreUnavailable
from .events import FollowerEvent, LeaderChanged, Stopped, StoreDown, StoreUp
from .internals import internals
from .log_records import EventLog
from .store import Leader
from .stories import Announcer
from .text import one_line
from .timing import check_timeout, first_answer_within

if TYPE_CHECKING:
    from .engine import Engine
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
        self._store = inner = internals(store)
        engine = inner.engine
        self._key = inner.normalise(key)
        self._view = _View(EventLog(log, self._key, inner.url), inner.fork_guard)
        self._watching = _Watching(engine, inner.full_key(self._key), self._view)

    @property
    def key(self) -> str:
        """The election's key, normalised."""
        return self._key

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
        self._watching.start()
        return _Leaders(self._view)

    def events(self) -> Iterator[FollowerEvent]:
        """Start to watch, and return an iterator over all that happens, as typed events.

        `LeaderChanged`, `StoreDown` and `StoreUp`; the first is the leader of now, once it is
        known, and the last is `Stopped`.
        """
        self._store.guard()
        announcer = self._view.announcer
        story = announcer.ended_story(Stopped()) if self._view.stopped else announcer.story()
        self._watching.start()
        return story

    def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """Start to watch, and block until somebody leads; returns who.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as it has answered, at most after five seconds.

        Returns:
            None if the store says that nobody leads, and nobody does in time; or if the follower
            is stopped. While the store cannot be reached, the last leader that it has named.

        Raises:
            StoreUnavailable: no leader is known, because the store cannot be reached, or has not
                answered.
            StoreRefused: the store cannot be used as configured, and has never worked.
        """
        self._store.guard()
        timeout = check_timeout(timeout)
        self._watching.start()
        view = self._view
        changed = view.announcer.changed
        changed.wait_for(lambda: view.leader or view.stopped, timeout)
        if timeout is not None:  # the store has at least the time to answer once
            changed.wait_for(
                lambda: view.answered or view.stopped, first_answer_within(_TTL, timeout) - timeout
            )
        if view.announcer.error is not None:
            raise view.announcer.error
        leader = view.leader
        if leader is None and not view.stopped and timeout is not None:
            where = f"nothing is known of the leader of {self._key} on {self._store.url}"
            if view.down is not None:
                raise StoreUnavailable(f"{where}: {view.down}") from view.down
            if not view.known:
                raise StoreUnavailable(f"{where}: it has not answered")
        return leader

    def stop(self) -> None:
        """Stop watching, and end all iterators; waits for nothing.

        May be called again, from any thread, and from a signal handler.
        """
        self._store.fork_guard()
        self._watching.begin_stop()

    def __repr__(self) -> str:
        return f"<Follower of {self.key} on {self._store.url}>"


class _Watching:
    """A follower as its engine knows it: how it starts and leaves."""

    def __init__(self, engine: Engine, key: str, view: _View) -> None:
        self._engine = engine
        self._view = view
        self._runner = FollowerRunner(engine, key, view)
        self._unstarted = [None]  # whoever pops it starts: exactly one does

    def start(self) -> None:
        if self._view.stopped:
            return
        try:
            self._unstarted.pop()
        except IndexError:
            return
        try:
            self._engine.add(self)
            self._runner.start()
        except BaseException:  # no thread can be started now: the next call tries again
            self._engine.remove(self)
            self._unstarted.append(None)
            raise

    def begin_stop(self) -> None:
        self._view.begin_end()
        if not self._engine.scheduler.post(self._stop, or_here=True):
            self._stop()  # nothing else runs any more
        self._engine.remove(self)

    def _stop(self) -> None:
        self._runner.stop()
        self._view.end()

    def await_stop(self, timeout: float) -> bool:
        """There is nothing to wait for: a follower holds nothing at the store."""
        return self._view.stopped

    def abandon(self) -> None:
        self.begin_stop()

    @property
    def works_here(self) -> bool:
        return False


class _View:
    """What is known about the leader.

    The engine writes it in the scheduler's thread, all but `begin_end`; any thread reads it.
    """

    def __init__(self, events: EventLog, guard: Callable[[], None]) -> None:
        self.announcer: Announcer[FollowerEvent] = Announcer(guard)
        self.leader: Leader | None = None
        self.known = False
        self.stopped = False
        self.down: StoreUnavailable | None = None
        self._ended = False
        self._last: Leader | None = None  # who led, even if nobody does now
        self._log = events

    @property
    def answered(self) -> bool:
        """Whether the store has answered, or failed to."""
        return self.known or self.down is not None

    def sees(self, leader: Leader | None) -> None:
        if self.down is not None:
            self.down = None
            self._tell(StoreUp())
        before, self.leader = self.leader, leader
        if self.known and leader == before:
            return  # confirmed: its age begins anew
        last, self._last = self._last, leader or self._last
        if leader is not None and last is not None and leader.token < last.token:
            facts = (
                f": the store has lost history, the token went from {last.token} to {leader.token}"
            )
            self._log.write(
                logging.WARNING, "history_lost", facts, value=leader.value, token=leader.token
            )
        self.known = True
        self._tell(LeaderChanged(leader))

    def trouble(self, error: StoreUnavailable) -> None:
        if self.down is None:
            self.down = error
            self._tell(StoreDown(error))

    def fail(self, error: Exception) -> None:
        self.announcer.error = error
        self.end()

    def begin_end(self) -> None:
        """Nothing is told from now on but the end; from any thread."""
        self.stopped = True
        self.announcer.announce()

    def end(self) -> None:
        self.stopped = True
        if not self._ended:
            self._ended = True
            self.announcer.announce(Stopped())

    def _tell(self, event: FollowerEvent) -> None:
        if self.stopped:
            return
        match event:
            case LeaderChanged(Leader(value=value, token=token)):
                self._log.write(logging.INFO, event.name, value=value, token=token)
            case StoreDown(error):
                self._log.write(logging.WARNING, event.name, f": {one_line(error)}")
            case _:
                self._log.write(logging.INFO, event.name)
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
