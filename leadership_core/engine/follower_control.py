"""Control of one follower: how it starts and leaves, and what it knows about the leader."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..backend.event_count import Wait, Waits
from ..backend.protocols import Leader
from ..backend.text import one_line
from ..events import FollowerEvent, LeaderChanged, Stopped, StoreDown, StoreUp
from .broadcast import EventBroadcaster, EventStream
from .callbacks import Call, Callbacks, Listener
from .event_log import EventLog
from .follower_driver import FollowerDebugState, FollowerDriver
from .participant_observation import FollowerObservation
from .waiting_iterator import End, WaitingIterator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..backend.records import Record
    from ..errors import StoreUnavailable
    from .open_store import OpenStore

__all__ = ["FollowerControl", "FollowerState", "LeaderIterator"]

log: logging.Logger = logging.getLogger("leadership.follower")


class FollowerControl:
    """The operations of a `Follower`, and its end by the engine.

    Args:
        store: the open store.
        key: the election's key, normalised.
    """

    def __init__(self, store: OpenStore, key: str) -> None:
        self._engine = store.engine
        self._fork_guard = store.fork_guard
        self._log = EventLog(log, key, store.url)
        self._observed = FollowerObservation(store.observed, key)
        self.state: FollowerState = FollowerState(self._log, store.fork_guard, self._observed)
        self._driver = FollowerDriver(self._engine, store.namespace.full(key), self.state)
        self._unstarted = [None]  # the one call that pops it starts the follower

    def present(self) -> Iterator[Record]:
        """Records of its present state, for an observer that is registered now."""
        return self._observed.present(self.state.leader)

    def debug_state(self) -> FollowerDebugState:
        """A snapshot for tests and for a debugger."""
        return self._driver.debug_state()

    def start(self) -> None:
        """Begin to watch, if it does not; no effect once it has stopped."""
        if self.state.stopped:
            return
        try:
            self._unstarted.pop()
        except IndexError:
            return
        try:
            self._engine.add(self)
            self._driver.start()
        except BaseException:  # no thread can be started now: the next call tries again
            self._engine.remove(self)
            self._unstarted.append(None)
            raise

    def stream(self) -> EventStream[FollowerEvent]:
        """Return a stream of its events, from the present state on."""
        broadcaster = self.state.broadcaster
        return broadcaster.ended_stream(Stopped()) if self.state.stopped else broadcaster.stream()

    def listen(self, call_of: Callable[[FollowerEvent], Call | None]) -> Listener[FollowerEvent]:
        """Call a function of the user for the present state and for later events; from any thread."""
        self._fork_guard()
        # Made once also where two threads come here at the same time.
        callbacks: Callbacks[FollowerEvent] = vars(self).setdefault(
            "_callbacks",
            Callbacks(self.state.broadcaster, self._log, None, self._engine.scheduler),
        )
        return callbacks.add(self.stream(), call_of)

    def call_for_leaders(self, on_leader: Callable[[Leader | None], object]) -> None:
        """Call the function with each leader, and with None where there is none."""

        def call_of(event: FollowerEvent) -> Call | None:
            if not isinstance(event, LeaderChanged):
                return None
            token = None if event.leader is None else event.leader.token
            return Call("on_leader", on_leader, event.leader, token)

        self.listen(call_of)

    def begin_stop(self) -> None:
        """Stop watching, without waiting."""
        self.state.begin_end()

        def stop() -> None:
            self._driver.stop()
            self.state.end()

        if not self._engine.scheduler.post(stop, or_here=True):
            stop()  # the scheduler's thread has ended
        self._engine.remove(self)

    def await_stop(self, timeout: float) -> bool:
        """Return at once: a follower holds nothing at the store."""
        return self.state.stopped

    def abandon(self) -> None:
        """End all iterators."""
        self.begin_stop()

    @property
    def works_here(self) -> bool:
        """Always False: a follower has no work."""
        return False


class FollowerState:
    """The leader as last seen, and the events of the follower.

    The engine writes it in the scheduler's thread, all but `begin_end`; any thread reads it.

    Attributes:
        leader: the leader as last seen.
        known: whether the store has answered yet.
        stopped: whether it was stopped.
        down: why the store gives no usable answers, while it does not.

    Args:
        events: where events are logged.
        guard: raises `ForkedStore` in a forked child.
        observed: reports the events to observers.
    """

    def __init__(
        self, events: EventLog, guard: Callable[[], None], observed: FollowerObservation
    ) -> None:
        self.broadcaster: EventBroadcaster[FollowerEvent] = EventBroadcaster(guard)
        self.leader: Leader | None = None
        self.known: bool = False
        self.stopped: bool = False
        self.down: StoreUnavailable | None = None
        self._ended = False
        self._last: Leader | None = None  # the latest leader, even if there is none now
        self._log = events
        self._observed = observed

    @property
    def answered(self) -> bool:
        """Whether the store has answered, or failed to."""
        return self.known or self.down is not None

    def on_leader(self, leader: Leader | None) -> None:
        """Take the leader that the store has named."""
        if self.down is not None:
            self.down = None
            self._publish(StoreUp())
        before, self.leader = self.leader, leader
        if self.known and leader == before:
            return  # confirmed: its age is 0 again
        last, self._last = self._last, leader or self._last
        if leader is not None and last is not None and leader.token < last.token:
            facts = (
                f": the store has lost history, the token went from {last.token} to {leader.token}"
            )
            self._log.write(
                logging.WARNING, "history_lost", facts, value=leader.value, token=leader.token
            )
        self.known = True
        self._publish(LeaderChanged(leader))

    def on_error(self, error: StoreUnavailable) -> None:
        """Note that the store cannot be reached; the leader stays as last seen."""
        if self.down is None:
            self.down = error
            self._publish(StoreDown(error))

    def fail(self, error: Exception) -> None:
        """End with an error, for all that wait."""
        self.broadcaster.error = error
        self.end()

    def begin_end(self) -> None:
        """Publish no further event but the last; from any thread."""
        self.stopped = True
        self.broadcaster.publish()

    def end(self) -> None:
        """Publish the last event, once."""
        self.stopped = True
        if not self._ended:
            self._ended = True
            self._observed.report(Stopped())
            self.broadcaster.publish(Stopped())

    def _publish(self, event: FollowerEvent) -> None:
        if self.stopped:
            return
        match event:
            case LeaderChanged(Leader(value=value, token=token)):
                self._log.write(logging.INFO, event.name, value=value, token=token)
            case StoreDown(error):
                self._log.write(logging.WARNING, event.name, f": {one_line(error)}")
            case _:
                self._log.write(logging.INFO, event.name)
        self._observed.report(event)
        self.broadcaster.publish(event)


class LeaderIterator(WaitingIterator["Leader | None"]):
    """An iterator over leaders: the present one, then one for each change.

    It has no queue: each step compares the leader that the reader knows with the present one.

    Args:
        state: the follower's state.
    """

    def __init__(self, state: FollowerState) -> None:
        self._state = state
        self._known: Leader | None = None
        self._first = True

    def step(self) -> Waits[Leader | End | None]:
        """Wait for the next leader, and return it."""
        state = self._state
        state.broadcaster.guard()
        yield Wait(
            state.broadcaster.changed,
            lambda: state.stopped or (state.known and (self._first or state.leader != self._known)),
        )
        if state.stopped:
            if state.broadcaster.error is not None:
                raise state.broadcaster.error
            return End.END
        self._first = False
        self._known = state.leader
        return self._known
