"""What a candidate is at the moment, and who waits for that to change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

from .events import (
    CandidateEvent,
    Elected,
    Lost,
    Resigned,
    Resumed,
    StoreDown,
    StoreUp,
    Suspended,
)
from .log_records import EventLog
from .stories import Announcer
from .term import Term
from .term_state import TermState
from .text import one_line

if TYPE_CHECKING:
    from .errors import StoreUnavailable
    from .lease import Lease

__all__ = ["Reign", "Tenure", "Verdicts"]

_OF_A_TERM = (Elected, Suspended, Resumed, Lost, Resigned)


class Reign(NamedTuple):
    """A term: what its user holds, and the state behind it."""

    term: Term
    state: TermState


class Tenure:
    """The term, if there is one, and the announcements of its beginning and its end.

    The engine writes it, in the scheduler's thread; `Candidate` reads it, in any.

    Attributes:
        reign: the term that has not ended; it may have expired a moment ago.
        last: the latest term, ended or not.
        stopping: the user wants it to end.
        down: why the store gives no usable answers, while it does not.

    Args:
        log: where to log what happens.
        value: the candidate's, for the log.
        guard: raises where nothing may be touched, as in a forked child.
    """

    def __init__(self, log: EventLog, value: str, guard: Callable[[], None]) -> None:
        self.reign: Reign | None = None
        self.last: Reign | None = None
        self.stopping = False
        self.announcer: Announcer[CandidateEvent] = Announcer(guard)
        self.down: StoreUnavailable | None = None
        self._log = log
        self._value = value
        self._token: int | None = None

    def begin_term(self, token: int, lease: Lease, renew: Callable[[float, float], None]) -> None:
        """A term begins now."""
        before = self.last
        if before is not None and token <= before.term.token:
            facts = (
                f": the store has lost history, the token went from {before.term.token} to {token}"
            )
            self._log.write(logging.WARNING, "history_lost", facts, value=self._value, token=token)
        state = TermState(self._log.key, token, lease, renew)
        reign = Reign(Term(state), state)
        if self.stopping:
            state.resign()  # it was stopped a moment ago, and has said so
        self.reign = self.last = reign
        if self.stopping:
            state.resign()
        self.tell(Elected(reign.term))

    @property
    def working(self) -> bool:
        """Whether work of the latest term is going on."""
        return self.last is not None and self.last.state.working

    def end_term(self, event: Lost | Resigned) -> bool:
        """The term ends now; True if work of it is still going on."""
        reign, self.reign = self.reign, None
        working = False
        if reign is not None:
            reason = event.reason if isinstance(event, Lost) else None
            resigned = reason is None and self.announcer.error is None
            working = reign.state.end(reason, resigned=resigned)
        self.tell(event)
        return working

    def tell(self, event: CandidateEvent) -> None:
        """Queue the event for the user."""
        match event:
            case Elected(term):
                self._token = term.token
            case StoreDown(error):
                self.down = error
            case StoreUp():
                self.down = None
            case _:
                pass
        # That the store is down is told once by the session, not once by each candidate.
        level = logging.WARNING if isinstance(event, Lost) else logging.INFO
        token = self._token if isinstance(event, _OF_A_TERM) else None
        self._log.write(level, event.name, _facts(event), value=self._value, token=token)
        self.announcer.announce(event)

    def fail(self, error: Exception) -> None:
        """It cannot go on; everybody who waits gets the error."""
        self.stopping = True
        self.announcer.error = error

    def released(self, token: int | None, confirmed: bool) -> None:
        """The claim with that token is gone, or left to the end of its session for good."""
        last = self.last
        if last is not None and last.term.token == token and last.state.released is None:
            last.state.released = confirmed
        self.announcer.announce()

    def changed(self) -> None:
        """The phase has changed, or what may be left at the store."""
        self.announcer.announce()


def _facts(event: CandidateEvent) -> str:
    match event:
        case Elected(term):
            return f", token {term.token}"
        case Lost(reason):
            return f": {reason}"
        case Suspended(remaining):
            return f" for {remaining:.1f} s more unless the store answers"
        case StoreDown(error):
            return f": {one_line(error)}"
        case _:
            return ""


class Verdicts:
    """An iterator over whether it leads: the present value, then one for each change.

    It has no queue: each step compares what the reader knows with what is.
    """

    def __init__(self, tenure: Tenure, ended: Callable[[], bool]) -> None:
        self._tenure = tenure
        self._ended = ended
        reign = tenure.reign
        self._told = None if reign is None else reign.term
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
        while True:
            # A reader that was told True is told of the end of that term first.
            told = self._told
            announcer.changed.wait_for(self._has_news, told.remaining() if told else None)
            if told is not None:
                if told.lost:
                    self._told = None
                    return False
            elif (term := self._new_term()) is not None:
                self._told = term
                return True
            elif self._ended():
                if announcer.error is not None:
                    raise announcer.error
                raise StopIteration

    def _has_news(self) -> bool:
        if self._told is not None:
            return self._told.lost
        return self._new_term() is not None or self._ended()

    def _new_term(self) -> Term | None:
        """The term that the reader does not know yet, or None."""
        reign = self._tenure.reign
        if reign is None or reign.term.lost or self._tenure.stopping:
            return None
        return reign.term
