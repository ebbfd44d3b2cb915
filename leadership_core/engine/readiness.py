"""Readiness of a program: it is asked in a thread of its own, within a time limit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ..backend.validation import refuse_unrun, safe_repr
from . import messages
from .event_log import EventLog
from .scheduler import Scheduler, Timer
from .serial_thread import SerialThread

__all__ = ["ReadinessProbe"]

_LONGEST = 5.0  # seconds between two questions, and for an answer, however long the ttl is
_WHILE_NOT_READY = 1.0  # seconds between two questions, at most


class ReadinessProbe:
    """Asks `ready` again and again; used in the scheduler's thread.

    A question is asked a third of the ttl after the last answer, as renewals are sent, and more often
    while the answer is no. An exception is a no, and so is no answer for a third of the ttl: the call
    may hang, so the next one is made only after it has returned.

    Args:
        ready: the user's function.
        ttl: seconds.
        scheduler: of the engine.
        events: where changes are logged.
        value: of the candidate, for the log.
        report: called with each answer in the scheduler's thread.
    """

    def __init__(
        self,
        ready: Callable[[], object],
        ttl: float,
        scheduler: Scheduler,
        events: EventLog,
        value: str,
        report: Callable[[messages.ReadinessReported], None],
    ) -> None:
        self._ready = ready
        self._seconds = min(ttl / 3, _LONGEST)
        self._scheduler = scheduler
        self._log = events
        self._value = value
        self._report = report
        self._thread = SerialThread("leadership-ready", scheduler)
        self._wanted = False  # the candidate campaigns or leads
        self._asking = self._late = False  # a call is under way; it has passed its limit
        self._last = ""  # the kind of the last answer: it is logged when that changes
        self._timer: Timer | None = None

    def check(self) -> None:
        """Ask at once, and from then on regularly."""
        self._wanted = True
        if not self._asking:
            self._ask()
        elif self._late:
            self._report(messages.ReadinessReported(ready=False))
        elif self._timer is None:
            self._set_timer(self._seconds, self._too_late)

    def pause(self) -> None:
        """Ask no more until `check`; an answer that is on its way is dropped."""
        if not self._wanted:
            return
        self._wanted = False
        self._cancel_timer()
        if not self._asking:
            self._thread.end()

    def _ask(self) -> None:
        self._set_timer(self._seconds, self._too_late)
        self._asking, self._late = True, False
        try:
            self._thread.submit(self._call)
        except BaseException:  # no memory: `check` asks again, or the timer does
            self._asking = False
            raise

    def _call(self) -> None:
        """Call the user's function; in the thread of that."""
        error: BaseException | None = None
        answer = False
        try:
            found = self._ready()
            refuse_unrun("ready", self._ready, found)
            answer = bool(found)
        except BaseException as raised:  # noqa: BLE001 - also SystemExit: the question is answered
            error = raised
        if not self._scheduler.post(partial(self._answered, answer, error)):
            self._thread.end()  # the store is closed

    def _answered(self, answer: bool, error: BaseException | None) -> None:
        late, self._asking, self._late = self._late, False, False
        self._cancel_timer()
        if not self._wanted:
            self._thread.end()
        elif late:  # an old answer
            self._ask()
        else:
            if error is not None:
                self._note(
                    "raised", logging.WARNING, f"ready() has raised {safe_repr(error)}", error
                )
            elif answer:
                self._note("ready", logging.INFO)
            else:
                self._note("refused", logging.INFO, "ready() has returned a false value")
            wait = self._seconds if answer else min(self._seconds, _WHILE_NOT_READY)
            self._set_timer(wait, self._ask)
            self._report(messages.ReadinessReported(answer))

    def _too_late(self) -> None:
        self._timer = None
        if not self._asking:
            self._ask()
            return
        self._late = True
        why = f"ready() has not returned within {self._seconds:.1f} s"
        self._note("late", logging.WARNING, why)
        self._report(messages.ReadinessReported(ready=False))

    def _note(
        self, kind: str, level: int, why: str = "", error: BaseException | None = None
    ) -> None:
        before, self._last = self._last, kind
        if kind == before or (kind == "ready" and not before):
            return
        event, facts = ("ready", "") if kind == "ready" else ("not_ready", f": {why}")
        self._log.write(level, event, facts, value=self._value, exc_info=error)

    def _set_timer(self, seconds: float, task: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self._scheduler.call_later(seconds, task)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
