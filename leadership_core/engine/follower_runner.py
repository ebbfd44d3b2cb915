"""Keeps a follower's view of the leader up to date."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .. import clock
from ..errors import ConfigurationError, StoreError, StoreRefused, StoreUnavailable
from ..store import Closable, Leader
from ..timing import Backoff, retry_cap
from .calls import call

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["FollowerRunner", "View"]

log = logging.getLogger("leadership.follower")

_REQUEST_SECONDS = 5.0
_CONFIRM_SECONDS = 15.0  # between two reads that make sure that the watch misses nothing


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
        self._changes = 0  # that the watch has reported
        self._latest: Leader | StoreUnavailable | None = None  # written by any thread
        self._told = False
        self._stopped = False

    def start(self) -> None:
        """Begin to watch; from any thread."""
        self._engine.requests.submit(self._arm)

    def stop(self) -> None:
        """End the watch; in the scheduler's thread."""
        self._stopped = True
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

    def _confirm(self) -> None:
        post = self._engine.scheduler.post
        changes = self._changes
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
        self._later(_CONFIRM_SECONDS, self._confirm)

    def _not_armed(self, error: Exception) -> None:
        if not self._stopped:
            self._take(error)
            self._later(self._backoff.next(), self._arm)

    def _changed(self) -> None:
        self._told = False
        self._changes += 1
        if not self._stopped:
            self._take(self._latest)

    def _confirmed(self, changes: int, seen: Leader | Exception | None) -> None:
        if self._stopped:
            return
        if changes == self._changes:  # otherwise the watch knows better
            self._take(seen)
        self._later(_CONFIRM_SECONDS, self._confirm)

    def _take(self, seen: Leader | Exception | None) -> None:
        if not isinstance(seen, Exception):
            self._engine.has_worked = True
            self._backoff.reset()
            self._view.sees(seen)
        elif isinstance(seen, StoreUnavailable) and (
            self._engine.has_worked or not isinstance(seen, StoreRefused)
        ):
            self._view.trouble(seen)
        else:
            self.stop()
            self._view.fail(seen)

    def _later(self, seconds: float, job: Callable[[], None]) -> None:
        def submit() -> None:
            if not self._stopped:
                self._engine.requests.submit(job)

        self._engine.scheduler.call_at(clock.now() + seconds, submit)
