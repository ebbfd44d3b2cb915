"""Keeps a follower's view of the leader up to date."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Protocol

from .. import clock
from ..errors import ConfigurationError, StoreError, StoreRefused, StoreUnavailable
from ..store import Closable, Leader
from ..timing import Backoff, retry_cap
from .calls import call

if TYPE_CHECKING:
    from .engine import Engine
    from .scheduler import Timer

__all__ = ["FollowerRunner", "View"]

log = logging.getLogger("leadership.follower")

_REQUEST_SECONDS = 5.0
_CONFIRM_SECONDS = 15.0  # between two reads that make sure that the watch misses nothing
_SOON_SECONDS = 1.0  # and where what it says may be out of date, at the least


class View(Protocol):
    """What the user holds, as its runner knows it; called in the scheduler's thread."""

    def sees(self, leader: Leader | None) -> None:
        """The store says who leads."""

    def trouble(self, error: StoreUnavailable) -> None:
        """The store cannot be reached; the last view stays."""

    def fail(self, error: Exception) -> None:
        """It cannot go on; the user gets the error."""


class FollowerRunner:
    """Watches one election; everything happens in the scheduler's thread but the requests.

    A watch tells all in order, but late: what a read has found meanwhile may be newer. So what
    would lead back is taken only if a read says the same: a restored store really goes back.

    Args:
        engine: whose store and threads to use.
        key: the election's key, with the prefix.
        view: what the user holds.
    """

    def __init__(self, engine: Engine, key: str, view: View) -> None:
        self._engine = engine
        self._election = engine.election(key)
        self._view = view
        self._backoff = Backoff(retry_cap(_REQUEST_SECONDS), engine.rng)
        self._watch: Closable | None = None
        self._changes = 0  # that the watch has reported, and that were taken
        self._latest: Leader | StoreUnavailable | None = None  # written by any thread
        self._told = False
        self._stopped = False
        self._seen: Leader | None = None
        self._token = -inf  # of the last leader
        self._ahead = False  # a read has told what the watch has not come to yet
        self._timer: Timer | None = None  # of the next read
        self._asking = False
        self._doubted_at = self._asked_at = self._sure_at = -inf

    def start(self) -> None:
        """Begin to watch; from any thread.

        Raises:
            NotDone: no thread can be started now.
        """
        self._engine.scheduler.post(lambda: self._engine.requests.submit(self._arm))

    def stop(self) -> None:
        """End the watch; in the scheduler's thread."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        watch, self._watch = self._watch, None
        if watch is not None:
            self._engine.requests.submit(watch.close)

    # -- requests --------------------------------------------------------------------------

    def _arm(self) -> None:
        post = self._engine.scheduler.post
        try:
            watch = call(_REQUEST_SECONDS, lambda: self._election.watch_leader(self._on_change))
        except (StoreError, ConfigurationError) as error:
            failure = error
            post(lambda: self._not_armed(failure))
        else:
            post(lambda: self._armed(watch))

    def _confirm(self, changes: int) -> None:
        post = self._engine.scheduler.post
        try:
            leader = call(_REQUEST_SECONDS, self._election.leader)
        except (StoreError, ConfigurationError) as error:
            failure = error
            post(lambda: self._confirmed(changes, failure))
        else:
            post(lambda: self._confirmed(changes, leader))

    def _on_change(self, change: Leader | StoreUnavailable | None) -> None:
        self._latest = change
        if not self._told:
            self._told = True
            self._engine.scheduler.post(self._changed)

    # -- in the scheduler's thread -----------------------------------------------------------

    def _armed(self, watch: Closable) -> None:
        if self._stopped:
            self._engine.requests.submit(watch.close)
            return
        self._watch = watch
        self._plan(_CONFIRM_SECONDS)

    def _not_armed(self, error: Exception) -> None:
        if not self._stopped:
            self._take(error)
            self._engine.scheduler.call_at(clock.now() + self._backoff.next(), self._arm_again)

    def _arm_again(self) -> None:
        if not self._stopped:
            self._engine.requests.submit(self._arm)

    def _changed(self) -> None:
        self._told = False
        latest = self._latest
        if self._stopped:
            return
        if self._may_be_late(latest):
            self._doubted_at = clock.now()
            if not self._asking:
                self._plan(max(0.0, self._asked_at + _SOON_SECONDS - clock.now()))
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
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._engine.scheduler.call_at(clock.now() + seconds, self._ask)

    def _ask(self) -> None:
        if self._stopped or self._asking:
            return
        self._asking, self._asked_at = True, clock.now()
        changes = self._changes
        self._engine.requests.submit(lambda: self._confirm(changes))

    def _confirmed(self, changes: int, seen: Leader | Exception | None) -> None:
        if self._stopped:
            return
        self._asking = False
        if changes == self._changes:  # otherwise the watch knows better
            if not isinstance(seen, Exception):
                self._sure_at = self._asked_at
                self._ahead |= seen != self._seen
            self._take(seen)
        doubts = self._doubted_at > self._sure_at
        self._plan(_SOON_SECONDS if doubts else _CONFIRM_SECONDS)

    def _take(self, seen: Leader | Exception | None) -> None:
        if not isinstance(seen, Exception):
            self._engine.has_worked = True
            self._backoff.reset()
            self._seen = seen
            self._token = self._token if seen is None else seen.token
            self._view.sees(seen)
        elif isinstance(seen, StoreUnavailable) and (
            self._engine.has_worked or not isinstance(seen, StoreRefused)
        ):
            self._view.trouble(seen)
        else:
            self.stop()
            self._view.fail(seen)
