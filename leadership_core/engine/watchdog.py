"""Watchdog of a leader: reports a term whose work gives no sign of life."""

from __future__ import annotations

from collections.abc import Callable

from ..term import TermState
from . import messages
from .scheduler import Scheduler, Timer

__all__ = ["Watchdog"]

_LEAST_LATENESS = 0.5  # seconds by which a timer is late on a busy machine, without a pause


class Watchdog:
    """Watches one term at a time; used in the scheduler's thread, which a deadlock of the program does not stop.

    The time is that of the lease's clock, so it passes while the process is paused. But work that was
    paused could give no sign: if the timer itself is late, the work has that time once more, counted
    from now, and only once until its next sign of life.

    Args:
        seconds: for which the work may give no sign of life.
        scheduler: of the engine.
        report: called when it expires.
    """

    def __init__(
        self,
        seconds: float,
        scheduler: Scheduler,
        *,
        report: Callable[[messages.WatchdogExpired], None],
    ) -> None:
        self._seconds = seconds
        self._scheduler = scheduler
        self._report = report
        self._term: TermState | None = None
        self._timer: Timer | None = None
        self._excused: float | None = None  # the sign of life after which there was a pause

    def begin(self, term: TermState) -> None:
        """Watch this term, from its beginning."""
        self._term, self._excused = term, None
        term.watched = True
        self._arm(term.alive_at + self._seconds)

    def end(self) -> None:
        """Watch no term."""
        self._term = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due: float) -> None:
        self._timer = self._scheduler.call_at(due, lambda: self._look(due))

    def _look(self, due: float) -> None:
        term, self._timer = self._term, None
        if term is None:
            return
        alive_at = term.alive_at
        now = self._scheduler.time_source.now()
        if now < alive_at + self._seconds:
            self._arm(alive_at + self._seconds)
        elif now - due > max(_LEAST_LATENESS, self._seconds / 4) and alive_at != self._excused:
            self._excused = alive_at
            self._arm(now + self._seconds)
        else:
            self._report(messages.WatchdogExpired(term.fence.token))
