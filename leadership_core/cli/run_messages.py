"""Messages of `leadership run` on stderr: lines for people, or JSON objects."""

from __future__ import annotations

import json
import os
import sys
import time

from ..candidate import Candidate
from ..events import CandidateEvent
from . import output
from .elect import EventPrinter
from .end_times import longest_grace
from .supervisor import (
    ChildEnded,
    ChildExpiring,
    ChildFailed,
    ChildRefused,
    ChildStarted,
    GuardLost,
    Message,
)

__all__ = ["SOURCE", "RunMessages"]

SOURCE = "leadership run"

_OF_ALL = {"time", "event", "key", "value"}


class RunMessages:
    """Prints what happens to the candidate and to its child.

    Args:
        candidate: the candidate.
        as_json: print one JSON object a line.
    """

    def __init__(self, candidate: Candidate, *, as_json: bool) -> None:
        self._candidate = candidate
        self._json = as_json
        self._printer = EventPrinter(candidate, as_json=True)

    def show_event(self, event: CandidateEvent) -> None:
        """Print an event of the candidate."""
        record = self._printer.record(event)
        if self._json:
            _write(record)
        else:
            facts = [f"{name} {fact}" for name, fact in record.items() if name not in _OF_ALL]
            output.print_error(SOURCE, f"{event.name} {', '.join(facts)}".rstrip())

    def show(self, message: Message, token: int | None) -> None:
        """Print what has happened to the child of the term with this token."""
        match message:
            case ChildStarted(pid):
                self._print("child_started", token, f"the child runs, process {pid}", pid=pid)
            case ChildRefused():
                text = "too little is left of the lease: the child is not started"
                self._print("child_refused", token, text)
            case ChildExpiring():
                text = "the lease was not renewed in time: the child is asked to end"
                self._print("child_expiring", token, text)
            case ChildEnded(code):
                text = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._print("child_ended", token, f"the child has ended, {text}", code=code)
            case ChildFailed(step, number):
                error = os.strerror(number)
                text = f"the child could not be started ({step}): {error}"
                self._print("child_failed", token, text, step=step, error=error)
            case GuardLost():
                text = "the guard of the child was killed, and the child with it"
                self._print("guard_lost", token, text)
            case _:
                pass

    def warn_of_grace(self, grace: float, ttl: float, max_validity: float) -> None:
        """Print a line if an outage of the store leaves less than the grace.

        Args:
            grace: seconds, as requested.
            ttl: seconds, as requested.
            max_validity: seconds that are left right after a renewal.
        """
        longest = longest_grace(ttl, max_validity)
        if grace > longest:
            self._print(
                "grace_limited",
                None,
                f"when the store does not answer, the child gets {longest:.3g} s of the grace of "
                f"{grace:g} s, since it must be dead before the lease of {ttl:g} s ends; "
                f"with --ttl {ttl * grace / longest:.0f} it gets all of it",
                grace=grace,
                longest=round(longest, 3),
            )

    def _print(self, event: str, token: int | None, text: str, **facts: object) -> None:
        if self._json:
            key, value = self._candidate.key, self._candidate.value
            record = {"time": round(time.time(), 6), "event": event, "key": key, "value": value}
            _write({**record, "token": token, **facts})
        else:
            output.print_error(SOURCE, text)


def _write(record: dict[str, object]) -> None:
    sys.stderr.write(json.dumps(record) + "\n")
