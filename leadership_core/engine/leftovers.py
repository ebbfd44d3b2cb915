"""Removes from the store what elections leave there when no candidate is in them any more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .. import clock
from ..errors import ConfigurationError, StoreError
from ..eventcount import EventCount
from ..store import Election
from .calls import call

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Leftovers"]

log = logging.getLogger("leadership.engine")

_DELAY = 1.0  # seconds after a release, in which the next candidate takes what is there over
_REQUEST_SECONDS = 5.0
_TRIES = 3


class Leftovers:
    """Calls `clean_up` of elections that have it, a moment after their candidates have left.

    A store that does not answer then is asked twice more; what stays is documented.

    Args:
        engine: whose scheduler and threads to use.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pending: dict[str, Election] = {}

    def left(self, key: str, election: Election) -> None:
        """The last claim of a candidate of this process is gone; in the scheduler's thread."""
        if getattr(election, "clean_up", None) is None or key in self._pending:
            return
        self._pending[key] = election
        self._later(key, 1)

    def close(self, until: float) -> None:
        """Clean up now what was to be cleaned up later, until a time of the clock."""
        pending, self._pending = self._pending, {}
        under_way, changed = set(pending), EventCount()

        def done(key: str) -> None:
            under_way.discard(key)
            changed.notify_all()

        for key, election in pending.items():
            self._engine.releases.submit(_job(key, election, until, partial(done, key)))
        changed.wait_for(lambda: not under_way, max(0.0, until - clock.now()))

    def _later(self, key: str, number: int) -> None:
        self._engine.scheduler.call_at(
            clock.now() + _DELAY * number, lambda: self._start(key, number)
        )

    def _start(self, key: str, number: int) -> None:
        election = self._pending.pop(key, None)
        if election is None:
            return

        def failed() -> None:
            if number < _TRIES and key not in self._pending:
                self._pending[key] = election
                self._later(key, number + 1)

        until = clock.now() + _REQUEST_SECONDS
        post = self._engine.scheduler.post
        self._engine.releases.submit(_job(key, election, until, failed=lambda: post(failed)))


def _job(
    key: str,
    election: Election,
    until: float,
    done: Callable[[], object] = lambda: None,
    failed: Callable[[], object] = lambda: None,
) -> Callable[[], None]:
    def job() -> None:
        try:
            if (left := until - clock.now()) > 0:
                call(left, election.clean_up)  # type: ignore[attr-defined]  # it has one
        except (StoreError, ConfigurationError) as error:
            log.debug("%s could not be cleaned up: %s", key, error)
            failed()
        finally:
            done()

    return job
