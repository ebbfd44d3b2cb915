"""The removal of what elections leave at the store when no candidate is in them any more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ..backend import clock
from ..backend.event_count import EventCount
from ..backend.protocols import Election
from ..errors import ConfigurationError, StoreError
from .executors import WorkerPool, call
from .instrumentation import ObservedStore
from .scheduler import Scheduler

__all__ = ["ElectionCleaner"]

log: logging.Logger = logging.getLogger("leadership.engine")

_DELAY = 1.0  # seconds after a release, in which the next candidate takes over what is there
_REQUEST_SECONDS = 5.0
_TRIES = 3


class ElectionCleaner:
    """Calls `clean_up` of elections that have it, a moment after their candidates have left.

    If the store does not answer, it is asked twice more; what stays then is documented in
    docs/design.md.

    Args:
        scheduler: for the delays.
        releases: for the requests.
        store: as observers see it.
    """

    def __init__(self, scheduler: Scheduler, releases: WorkerPool, store: ObservedStore) -> None:
        self._scheduler = scheduler
        self._releases = releases
        self._store = store
        self._pending: dict[str, Election] = {}

    def left(self, key: str, election: Election) -> None:
        """Note that the last claim of a candidate of this process is gone; in the scheduler's thread."""
        if getattr(election, "clean_up", None) is None or key in self._pending:
            return
        self._pending[key] = election
        self._scheduler.call_later(_DELAY, partial(self._start, key, 1))

    def close(self, until: float) -> None:
        """Clean up now what is still pending; blocks until then at most.

        Args:
            until: a time of the clock.
        """
        pending, self._pending = self._pending, {}
        under_way, changed = set(pending), EventCount()

        def done(key: str) -> None:
            under_way.discard(key)
            changed.notify_all()

        for key, election in pending.items():
            self._releases.submit(_job(self._store, key, election, until, partial(done, key)))
        changed.wait_for(lambda: not under_way, max(0.0, until - clock.now()))

    def _start(self, key: str, number: int) -> None:
        election = self._pending.pop(key, None)
        if election is None:
            return

        def failed() -> None:
            if number < _TRIES and key not in self._pending:
                self._pending[key] = election
                self._scheduler.call_later(
                    _DELAY * (number + 1), partial(self._start, key, number + 1)
                )

        until = clock.now() + _REQUEST_SECONDS
        post = self._scheduler.post
        self._releases.submit(_job(self._store, key, election, until, failed=lambda: post(failed)))


def _job(
    store: ObservedStore,
    key: str,
    election: Election,
    until: float,
    done: Callable[[], object] = lambda: None,
    failed: Callable[[], object] = lambda: None,
) -> Callable[[], None]:
    def job() -> None:
        try:
            if (left := until - clock.now()) > 0:
                clean_up = election.clean_up  # type: ignore[attr-defined]  # it has one
                call(left, clean_up, store, "clean_up", key)
        except (StoreError, ConfigurationError) as error:
            log.debug("%s could not be cleaned up: %s", key, error)
            failed()
        finally:
            done()

    return job
