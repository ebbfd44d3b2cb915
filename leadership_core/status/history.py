"""History of one election, as one process has seen it: terms, outages of the store, candidates.

All of it is written and read in one thread, that of the status server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..backend.protocols import Leader
from ..backend.text import one_line
from ..events import (
    Campaigning,
    CandidateEvent,
    Elected,
    FollowerEvent,
    LeaderChanged,
    Lost,
    LostReason,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)
from ..term import Term
from .members import overdue_of

__all__ = ["CandidateRecord", "ElectionRecord", "Outage", "TermRecord"]

_MOST_TERMS = 50
_MOST_OUTAGES = 20


@dataclass(slots=True)
class TermRecord:
    """A term, its leader, and when it was seen.

    Attributes:
        value: of the leader.
        token: its token.
        began: the wall clock's time at which it was seen first.
        exact: whether it began then; otherwise it had begun before.
        ended: the wall clock's time, or None while it goes on.
        ending: why, where that is known.
        mine: whether a candidate of this process led.
    """

    value: str
    token: int
    began: float
    exact: bool
    ended: float | None = None
    ending: str = ""
    mine: bool = False


@dataclass(slots=True)
class Outage:
    """A time without usable answers of the store, by the wall clock; not over while `ended` is None."""

    began: float
    ended: float | None = None


@dataclass(slots=True)
class CandidateRecord:
    """A candidate of this process.

    Attributes:
        value: the candidate's.
        ttl: seconds, as requested.
        held_back: whether it does not stand because the program is not ready.
        term: the latest term, which may be over.
        suspended: whether a renewal of that term is unanswered.
        campaigning: whether it was started.
        stopped: whether it has ended.
        barked: whether its watchdog has ended a term.
        error: why the store gives it no usable answers, while it does not.
    """

    value: str
    ttl: float
    held_back: Callable[[], bool]
    term: Term | None = None
    suspended: bool = False
    campaigning: bool = False
    stopped: bool = False
    barked: bool = False
    error: str | None = None

    @property
    def leads(self) -> bool:
        """Whether it leads at this moment."""
        return self.term is not None and not self.term.lost

    @property
    def state(self) -> str:
        """One word for what it does."""
        if self.stopped:
            return "stopped"
        if self.leads:
            return "suspended" if self.suspended else "leading"
        if self.held_back():
            return "not ready"
        return "standby" if self.campaigning else "not started"

    def on_event(self, event: CandidateEvent) -> None:
        """Take an event of the candidate."""
        match event:
            case Campaigning():
                self.campaigning = True
            case Elected(term):
                self.term, self.suspended, self.campaigning = term, False, True
            case Suspended():
                self.suspended = True
            case Resumed():
                self.suspended = False
            case Lost(reason):
                self.suspended = False
                self.barked |= reason is LostReason.WATCHDOG
            case Resigned():
                self.suspended = False
            case StoreDown(error):
                self.error = one_line(error)
            case StoreUp():
                self.error = None
            case Stopped():
                self.stopped, self.suspended = True, False


@dataclass(slots=True)
class ElectionRecord:
    """One election on one store.

    Attributes:
        key: of the election.
        store: the masked URL.
        confirmed: returns the leader as the follower knows it, with the time of its confirmation.
        candidates: those of this process.
        known: whether the store has named its leader, or said that there is none.
        seen: the leader that the store has named last.
        watched_since: the wall clock's time of the first answer.
        vacant_since: the wall clock's time since which no leader is known, if there is none.
        error: why the store gives no usable answers, while it does not.
        stopped: whether it is followed no more.
        terms: the latest ones, in the order in which they were seen.
        outages: the latest ones.
    """

    key: str
    store: str
    confirmed: Callable[[], Leader | None]
    candidates: list[CandidateRecord] = field(default_factory=list)
    known: bool = False
    seen: Leader | None = None
    watched_since: float | None = None
    vacant_since: float | None = None
    error: str | None = None
    stopped: bool = False
    terms: deque[TermRecord] = field(default_factory=lambda: deque(maxlen=_MOST_TERMS))
    outages: deque[Outage] = field(default_factory=lambda: deque(maxlen=_MOST_OUTAGES))

    @property
    def leading(self) -> CandidateRecord | None:
        """The candidate of this process that leads at this moment, or None."""
        return next((one for one in self.candidates if one.leads), None)

    @property
    def leader(self) -> Leader | None:
        """The leader that the store has named last, unless it is known that its term is over."""
        seen, fresh = self.seen, self.confirmed()
        seen = fresh if fresh == seen else seen  # a confirmation is no event
        own = {one.term.token for one in self.candidates if one.term is not None and one.term.lost}
        return None if seen is None or seen.token in own else seen

    @property
    def store_answers(self) -> bool:
        """Whether the store has answered, and gives usable answers."""
        return self.known and self.error is None

    def term_of(self, token: int) -> TermRecord | None:
        """The record of the term with that token, or None."""
        return next((one for one in reversed(self.terms) if one.token == token), None)

    # -- events ----------------------------------------------------------------------------

    def on_candidate_event(
        self, candidate: CandidateRecord, event: CandidateEvent, at: float, *, past: bool = False
    ) -> None:
        """Take an event of a candidate of this process, at that time of the wall clock.

        Args:
            candidate: the candidate's record.
            event: the event.
            at: the time at which it was read.
            past: whether it had happened before the server was started.
        """
        before = candidate.term
        candidate.on_event(event)
        match event:
            case Elected(term):
                record = self._begin(candidate.value, term.token, at, exact=not past)
                record.mine, record.exact = True, not past
            case Lost(reason) if before is not None:
                late = overdue_of(before) if reason is LostReason.EXPIRED else 0.0
                self._end(before.token, at - late, f"lost: {reason}")
            case Resigned() if before is not None:
                self._end(before.token, at, "resigned")
            case _:
                pass

    def on_follower_event(self, event: FollowerEvent, at: float) -> None:
        """Take an event of the follower, at that time of the wall clock."""
        match event:
            case LeaderChanged(leader):
                if self.seen is not None:
                    self._end(self.seen.token, at)
                if leader is not None:
                    self._begin(leader.value, leader.token, at, exact=self.known)
                self.seen, self.known = leader, True
                self.watched_since = self.watched_since or at
                self._note_vacancy(at)
            case StoreDown(error):
                self.error = one_line(error)
                self.outages.append(Outage(at))
            case StoreUp():
                self.error = None
                if self.outages:
                    self.outages[-1].ended = at
            case Stopped():
                self.stopped = True

    def _begin(self, value: str, token: int, at: float, *, exact: bool) -> TermRecord:
        self.watched_since = self.watched_since or at
        record = self.term_of(token)
        if record is None:
            for earlier in self.terms:
                if earlier.ended is None:
                    earlier.ended = at
            record = TermRecord(value, token, at, exact)
            self.terms.append(record)
        self.vacant_since = None
        return record

    def _end(self, token: int, at: float, ending: str = "") -> None:
        record = self.term_of(token)
        if record is not None:
            # The follower may report the vacancy before the candidate reports when its lease ended.
            ended = max(at, record.began)
            record.ended = ended if record.ended is None else min(ended, record.ended)
            record.ending = record.ending or ending
        self._note_vacancy(at)

    def _note_vacancy(self, at: float) -> None:
        if any(one.ended is None for one in self.terms):
            self.vacant_since = None
        elif self.vacant_since is None:
            self.vacant_since = at
