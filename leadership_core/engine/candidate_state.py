"""State of a candidate: its current term, its events, and an iterator over its leadership."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..backend.event_count import Wait, Waits
from ..backend.fence import Fence
from ..backend.text import one_line
from ..errors import StoreRefused
from ..events import CandidateEvent, Elected, Lost, Resigned, Resumed, StoreDown, StoreUp, Suspended
from ..term import Term, TermState
from .broadcast import EventBroadcaster
from .event_log import EventLog
from .participant_observation import CandidateObservation
from .waiting_iterator import End, WaitingIterator

if TYPE_CHECKING:
    from ..backend.time_source import TimeSource
    from ..errors import StoreUnavailable
    from .lease import Lease

__all__ = ["CandidateState", "CurrentTerm", "LeadershipIterator"]

_OF_A_TERM = (Elected, Suspended, Resumed, Lost, Resigned)


class CurrentTerm(NamedTuple):
    """A term as its user holds it, with the state behind it."""

    term: Term
    state: TermState


class CandidateState:
    """The current term of a candidate, and the events of its terms.

    The engine writes it, in the scheduler's thread; `Candidate` reads it, in any thread.

    Attributes:
        current: the term that has not ended; it may have expired a moment ago.
        last: the latest term, ended or not.
        stopping: the user wants the candidate to end.
        down: why the store gives no usable answers, while it does not.
        log, value: as given.

    Args:
        log: where events are logged.
        value: the candidate's value, for the log.
        guard: raises `ForkedStore` in a forked child.
        observed: reports the events to observers.
        time_source: the store's.
    """

    def __init__(
        self,
        log: EventLog,
        value: str,
        guard: Callable[[], None],
        observed: CandidateObservation,
        time_source: TimeSource,
    ) -> None:
        self.current: CurrentTerm | None = None
        self.last: CurrentTerm | None = None
        self.stopping: bool = False
        self.broadcaster: EventBroadcaster[CandidateEvent] = EventBroadcaster(guard)
        self.down: StoreUnavailable | None = None
        self.log = log
        self.value = value
        self._observed = observed
        self._time_source = time_source
        self._token: int | None = None

    def begin_term(
        self, token: int, lease: Lease, renew: Callable[[float, float], Waits[None]]
    ) -> None:
        """Make the term the current one, and queue `Elected`."""
        before = self.last
        if before is not None and token <= before.term.token:
            facts = (
                f": the store has lost history, the token went from {before.term.token} to {token}"
            )
            self.log.write(logging.WARNING, "history_lost", facts, value=self.value, token=token)
        state = TermState(Fence(self.log.key, token), lease, renew, self._time_source)
        current = CurrentTerm(Term(state), state)
        if self.stopping:
            state.resign()  # stopped a moment ago, and `is_leader` has said so
        self.current = self.last = current
        if self.stopping:
            state.resign()
        self.publish(Elected(current.term))

    @property
    def working(self) -> bool:
        """Whether work of the latest term is going on."""
        return self.last is not None and self.last.state.working

    def end_term(self, event: Lost | Resigned) -> bool:
        """End the current term, and queue the event; True if work of the term is still going on."""
        current, self.current = self.current, None
        working = False
        if current is not None:
            reason = event.reason if isinstance(event, Lost) else None
            resigned = reason is None and self.broadcaster.error is None
            working = current.state.end(reason, resigned=resigned)
        self.publish(event)
        return working

    def publish(self, event: CandidateEvent) -> None:
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
        # The session logs once that the store is down, and its candidates log it at INFO only. But a
        # permission may be missing for this key alone; a refused claim is the cause of an unknown outcome.
        refused = isinstance(event, StoreDown) and (
            isinstance(event.error, StoreRefused) or isinstance(event.error.__cause__, StoreRefused)
        )
        level = logging.WARNING if refused or isinstance(event, Lost) else logging.INFO
        token = self._token if isinstance(event, _OF_A_TERM) else None
        self.log.write(level, event.name, _facts(event), value=self.value, token=token)
        self._observed.report(event, token)
        self.broadcaster.publish(event)

    def fail(self, error: Exception) -> None:
        """Keep the error that has ended the candidate, for all that wait."""
        self.stopping = True
        self.broadcaster.error = error

    def released(self, token: int | None, confirmed: bool) -> None:
        """Note that the claim of that token is withdrawn, or left to the end of its session."""
        last = self.last
        if last is not None and last.term.token == token and last.state.released is None:
            last.state.released = confirmed
        self.broadcaster.publish()

    def note_idle(self, idle: bool) -> None:
        """Note whether it has left the election, but not for good; for observers."""
        self._observed.note_idle(idle)

    def changed(self) -> None:
        """Wake all that wait: the phase has changed, or what may be left at the store."""
        self.broadcaster.publish()


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


class LeadershipIterator(WaitingIterator[bool]):
    """An iterator over whether the candidate leads: the present value, then one for each change.

    It has no queue: each step compares the term that the reader knows with the current one.

    Args:
        state: the candidate's state.
        ended: whether the candidate has stopped, or is about to.
    """

    def __init__(self, state: CandidateState, ended: Callable[[], bool]) -> None:
        self._state = state
        self._ended = ended
        current = state.current
        self._known = None if current is None else current.term
        self._first = True

    def step(self) -> Waits[bool | End]:
        """Wait for the next value, and return it."""
        broadcaster = self._state.broadcaster
        broadcaster.guard()
        if self._first:
            self._first = False
            if self._known is not None and self._known.lost:
                self._known = None
            return self._known is not None
        while True:
            # A reader that has got True gets the end of that term first.
            known = self._known
            yield Wait(broadcaster.changed, self._has_news, known.remaining() if known else None)
            if known is not None:
                if known.lost:
                    self._known = None
                    return False
            elif (term := self._new_term()) is not None:
                self._known = term
                return True
            elif self._ended():
                if broadcaster.error is not None:
                    raise broadcaster.error
                return End.END

    def _has_news(self) -> bool:
        if self._known is not None:
            return self._known.lost
        return self._new_term() is not None or self._ended()

    def _new_term(self) -> Term | None:
        """A valid term that the reader does not know yet, or None."""
        current = self._state.current
        if current is None or current.term.lost or self._state.stopping:
            return None
        return current.term
