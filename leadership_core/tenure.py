"""What a candidate is at the moment, and who waits for that to change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from .events import Elected, Event, Lost, Resigned, StoreDown, Suspended
from .stories import Announcer
from .term import Term

if TYPE_CHECKING:
    from .lease import Lease

__all__ = ["Tenure", "Verdicts"]

log = logging.getLogger("leadership.candidate")


class Tenure:
    """The term, if there is one, and the announcements of its beginning and its end.

    The engine writes it, in the scheduler's thread; `Candidate` reads it, in any.

    Attributes:
        term: the one that has not ended; it may have expired a moment ago.
        last_term: the latest one, ended or not.
        stopping: the user wants it to end.

    Args:
        key: the election's key, as users see it.
        value: the candidate's, for the log.
        guard: raises where nothing may be touched, as in a forked child.
    """

    def __init__(self, key: str, value: str, guard: Callable[[], None]) -> None:
        self.term: Term | None = None
        self.last_term: Term | None = None
        self.stopping = False
        self.announcer = Announcer(guard)
        self._key = key
        self._value = value

    def begin_term(self, token: int, lease: Lease, renew: Callable[[float, float], None]) -> None:
        """A term begins now."""
        before = self.last_term
        if before is not None and token <= before.token:
            log.warning(
                "the store has lost history: the token of %s went from %d to %d",
                self._key,
                before.token,
                token,
            )
        self.term = self.last_term = Term(self._key, token, lease, renew)
        if self.stopping:
            self.term.end()  # it was stopped a moment ago, and has said so
        self.tell(Elected(self.term))

    @property
    def working(self) -> bool:
        """Whether work of the latest term is going on."""
        return self.last_term is not None and self.last_term.working

    def end_term(self, event: Lost | Resigned) -> bool:
        """The term ends now; True if work of it is still going on."""
        term, self.term = self.term, None
        working = term is not None and term.end()
        self.tell(event)
        return working

    def tell(self, event: Event) -> None:
        """Queue the event for the user."""
        # That the store is down is told once by the session, not once by each candidate.
        level = logging.WARNING if isinstance(event, Lost) else logging.INFO
        log.log(level, "%s %s%s", self._key, event.name, _facts(event))
        self.announcer.announce(event)

    def fail(self, error: Exception) -> None:
        """It cannot go on; everybody who waits gets the error."""
        self.stopping = True
        self.announcer.error = error

    def released(self, token: int | None, confirmed: bool) -> None:
        """The claim with that token is gone, or left to the end of its session for good."""
        term = self.last_term
        if term is not None and term.token == token and term.released is None:
            term.released = confirmed
        self.announcer.announce()

    def changed(self) -> None:
        """The phase has changed, or what may be left at the store."""
        self.announcer.announce()


def _facts(event: Event) -> str:
    match event:
        case Elected(term):
            return f", token {term.token}"
        case Lost(reason):
            return f": {reason}"
        case Suspended(remaining):
            return f" for {remaining:.1f} s more unless the store answers"
        case StoreDown(error):
            return f": {error}"
        case _:
            return ""


class Verdicts:
    """An iterator over whether it leads: the present value, then one for each change.

    It has no queue: each step compares what the reader knows with what is.
    """

    def __init__(self, tenure: Tenure, ended: Callable[[], bool]) -> None:
        self._tenure = tenure
        self._ended = ended
        self._told = tenure.term
        self._first = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bool:
        announcer = self._tenure.announcer
        announcer.guard()
        if self._first:
            self._first = False
            if self._told is not None and self._told.lost:
                self._told = None
            return self._told is not None
        with announcer.changed:
            while (verdict := self._verdict()) is None:
                # A reader that was told True is told of the end of that term first.
                if self._told is None and self._ended():
                    if announcer.error is not None:
                        raise announcer.error
                    raise StopIteration
                announcer.changed.wait(self._told.remaining() if self._told else None)
            return verdict

    def _verdict(self) -> bool | None:
        """What the reader does not know yet, or None."""
        if self._told is not None:
            if not self._told.lost:
                return None
            self._told = None
            return False
        term = self._tenure.term
        if term is None or term.lost or self._tenure.stopping:
            return None
        self._told = term
        return True
