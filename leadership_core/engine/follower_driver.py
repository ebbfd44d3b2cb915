"""The driver of one follower: keeps its view of the leader up to date."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import NamedTuple, Protocol

from ..backend.protocols import Closable, Leader
from ..errors import ConfigurationError, StoreError, StoreRefused, StoreUnavailable
from .backoff import Backoff, max_backoff
from .engine import Engine
from .executors import call
from .instrumentation import WatchObservation
from .scheduler import Timer

__all__ = ["FollowerDebugState", "FollowerDriver", "FollowerListener"]

_REQUEST_SECONDS = 5.0
_CONFIRM_SECONDS = 15.0  # between two reads that make sure that the watch misses nothing
_DOUBT_SECONDS = 1.0  # between two reads while the watch may lag behind, at least


class FollowerListener(Protocol):
    """The state that users read: `FollowerState`, in a module that imports this one.

    Called in the scheduler's thread.
    """

    def on_leader(self, leader: Leader | None) -> None:
        """The store reports this leader."""

    def on_error(self, error: StoreUnavailable) -> None:
        """The store cannot be reached; the last leader stays."""

    def fail(self, error: Exception) -> None:
        """The follower cannot go on; the user gets the error."""


class FollowerDebugState(NamedTuple):
    """A snapshot of one follower for tests and for a debugger; not part of the public interface.

    Attributes:
        leader: as reported last.
        watching: whether its watch is armed.
        stopped: whether it has ended.
        confirmed_at: the time of the clock at which the last read was sent that has confirmed
            the leader; -inf before the first.
    """

    leader: Leader | None
    watching: bool
    stopped: bool
    confirmed_at: float


class FollowerDriver:
    """Watches one election; everything happens in the scheduler's thread but the requests.

    A watch reports all changes in order, but late: a read may have found a newer state meanwhile. So
    a change that would lead back to an older leader is taken only if a read confirms it, as it does
    when the store was restored from a backup.

    Args:
        engine: whose store and threads to use.
        key: the election's key, with the prefix.
        listener: what the user reads.
    """

    def __init__(self, engine: Engine, key: str, listener: FollowerListener) -> None:
        self._context = engine.context
        self._now = engine.context.time_source.clock
        self._post = engine.context.scheduler.post
        self._submit = engine.context.requests.submit
        self._election = engine.election(key)
        self._key = key
        self._watched = WatchObservation(self._context.store, key, "leader")
        self._listener = listener
        self._backoff = Backoff(max_backoff(_REQUEST_SECONDS), engine.context.rng)
        self._watch: Closable | None = None
        self._changes = 0  # that the watch has reported, and that were taken
        self._latest: Leader | StoreUnavailable | None = None  # written by any thread
        self._posted = False  # `_changed`, for `_latest`
        self._stopped = False
        self._seen: Leader | None = None
        self._token = -inf  # of the last leader
        self._ahead = False  # a read has returned a state that the watch has not reported yet
        self._timer: Timer | None = None  # of the next read
        self._reading = False
        self._doubted_at = self._read_at = self._confirmed_at = -inf

    def start(self) -> None:
        """Begin to watch; from any thread.

        Raises:
            NotApplied: no thread can be started now.
        """
        self._post(lambda: self._submit(self._arm))

    def stop(self) -> None:
        """End the watch; in the scheduler's thread."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        watch, self._watch = self._watch, None
        if watch is not None:
            self._submit(watch.close)

    def debug_state(self) -> FollowerDebugState:
        """A snapshot for tests; from any thread, so its fields may be of two neighbouring instants."""
        return FollowerDebugState(
            leader=self._seen,
            watching=self._watch is not None,
            stopped=self._stopped,
            confirmed_at=self._confirmed_at,
        )

    # -- requests --------------------------------------------------------------------------

    def _arm(self) -> None:
        def on_change(change: Leader | StoreUnavailable | None) -> None:
            self._watched.note(failed=isinstance(change, StoreUnavailable))
            self._latest = change
            if not self._posted:
                self._posted = True
                self._post(self._changed)

        try:
            begin = partial(self._election.watch_leader, on_change)
            watch = call(_REQUEST_SECONDS, begin, self._context.store, "watch_leader", self._key)
        except (StoreError, ConfigurationError) as error:
            self._post(partial(self._armed, error))
        else:
            self._post(partial(self._armed, watch))

    # -- in the scheduler's thread -----------------------------------------------------------

    def _armed(self, watch: Closable | Exception) -> None:
        def arm_again() -> None:
            if not self._stopped:
                self._submit(self._arm)

        if isinstance(watch, Exception):
            if not self._stopped:
                self._watched.note(failed=True)
                self._take(watch)
                self._context.scheduler.call_later(self._backoff.next(), arm_again)
        elif self._stopped:
            self._submit(watch.close)
        else:
            self._watch = watch
            self._plan(_CONFIRM_SECONDS)

    def _changed(self) -> None:
        self._posted = False
        latest = self._latest
        if self._stopped:
            return
        if self._may_be_late(latest):
            self._doubted_at = self._now()
            if not self._reading:
                self._plan(max(0.0, self._read_at + _DOUBT_SECONDS - self._now()))
            return
        self._changes += 1
        self._ahead &= isinstance(latest, Exception)
        self._take(latest)

    def _may_be_late(self, seen: Leader | Exception | None) -> bool:
        if isinstance(seen, Exception):
            return False
        if seen is None:
            return self._ahead and self._seen is not None
        return seen.token < self._token or (seen.token == self._token and self._seen is None)

    def _plan(self, seconds: float) -> None:
        def read(changes: int) -> None:
            try:
                ask, store = self._election.leader, self._context.store
                leader = call(_REQUEST_SECONDS, ask, store, "leader", self._key)
            except (StoreError, ConfigurationError) as error:
                self._post(partial(self._confirmed, changes, error))
            else:
                self._post(partial(self._confirmed, changes, leader))

        def due() -> None:
            if not (self._stopped or self._reading):
                self._reading, self._read_at = True, self._now()
                self._submit(partial(read, self._changes))

        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.scheduler.call_later(seconds, due)

    def _confirmed(self, changes: int, seen: Leader | Exception | None) -> None:
        if self._stopped:
            return
        self._reading = False
        if changes == self._changes:  # otherwise the watch has reported a newer state
            if not isinstance(seen, Exception):
                self._confirmed_at = self._read_at
                self._ahead |= seen != self._seen
            self._take(seen)
        in_doubt = self._doubted_at > self._confirmed_at
        self._plan(_DOUBT_SECONDS if in_doubt else _CONFIRM_SECONDS)

    def _take(self, seen: Leader | Exception | None) -> None:
        if not isinstance(seen, Exception):
            self._context.has_worked = True
            self._backoff.reset()
            self._seen = seen
            self._token = self._token if seen is None else seen.token
            self._listener.on_leader(seen)
        elif isinstance(seen, StoreUnavailable) and (
            self._context.has_worked or not isinstance(seen, StoreRefused)
        ):
            self._listener.on_error(seen)
        else:
            self.stop()
            self._listener.fail(seen)
