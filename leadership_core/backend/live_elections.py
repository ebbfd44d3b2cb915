"""The present state of the elections of this process, from their records, for gauges."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from weakref import ReferenceType, ref

from . import clock
from .event_count import snapshot
from .records import CandidateTransition, ObservedTerm, Outcome, Record, Renewal

__all__ = ["ElectionState", "LiveElections"]

_OTHER_KEYS, _LOCKS = "/other", "/locks"  # no key of an election begins with a slash
_SLOT, _SLOTS = 30.0, 10  # seconds, and how many of them: the last five minutes

_Labels = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ElectionState:
    """One election at this moment, as the candidates of this process see it.

    Attributes:
        key: of the election, or the one that many share; see `LiveElections`.
        kind: the scheme of the store's URL.
        is_leader: whether a candidate of this process leads.
        token: the fencing token of its term; 0 without one.
        remaining: seconds for which it leads even if the store never answers again; 0 without a term.
        ttl: seconds, as requested.
    """

    key: str
    kind: str
    is_leader: bool
    token: int
    remaining: float
    ttl: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A candidate that has not left, as its records describe it."""

    labels: _Labels
    ttl: float
    is_lock: bool
    term: ReferenceType[ObservedTerm] | None = None
    token: int = 0
    suspended_at: float | None = None

    @property
    def state(self) -> ElectionState:
        term = None if self.term is None else self.term()
        if term is None or term.lost:
            return ElectionState(
                *self.labels, is_leader=False, token=0, remaining=0.0, ttl=self.ttl
            )
        left = term.remaining()
        return ElectionState(
            *self.labels, is_leader=True, token=self.token, remaining=left, ttl=self.ttl
        )


class LiveElections:
    """Keeps track of candidates by their records, and computes what gauges show.

    Whether a candidate leads, and for how long, is computed from the clock at each call: a process that
    was paused for longer than its lease does not show that it leads. One thread, that of the observers,
    calls `note`; any thread may call the rest.

    Args:
        most_keys: how many elections are shown by their own key; the others share "/other". Locks,
            of which programs may use any number, share "/locks", and have no `ElectionState`.
    """

    def __init__(self, most_keys: int = 1000) -> None:
        self._most_keys = most_keys
        self._keys: set[str] = set()
        self._process = os.getpid()
        self._candidates: dict[int, _Candidate] = {}
        self._suspended: dict[_Labels, float] = {}  # seconds of suspensions that have ended
        self._margins: dict[str, dict[int, float]] = {}  # by kind of store and slot

    def label(self, key: str, *, lock: bool = False) -> str:
        """The key itself, or the key that it shares with others."""
        if lock:
            return _LOCKS
        if key not in self._keys:
            if len(self._keys) >= self._most_keys:
                return _OTHER_KEYS
            self._keys.add(key)
        return key

    def note(self, record: Record) -> None:
        """Take note of a record."""
        self._forget_parent()
        if isinstance(record, CandidateTransition):
            self._note_candidate(record)
        elif isinstance(record, Renewal):
            self._note_renewal(record)

    def _note_candidate(self, record: CandidateTransition) -> None:
        labels = self.label(record.key, lock=record.lock), record.kind
        one = self._candidates.get(record.candidate)
        if one is None:
            one = _Candidate(labels, record.ttl, record.lock)
        if one.suspended_at is not None and record.event in {"resumed", "lost", "resigned"}:
            ended = max(0.0, record.at - one.suspended_at)
            self._suspended[labels] = self._suspended.get(labels, 0.0) + ended
            one = replace(one, suspended_at=None)
        match record.event:
            case "elected":
                term = None if record.term is None else ref(record.term)
                one = replace(one, term=term, token=record.token or 0)
            case "suspended":
                one = replace(one, suspended_at=record.at)
            case "lost" | "resigned":
                one = replace(one, term=None)
            case "stopped" | "left":
                self._candidates.pop(record.candidate, None)
                return
            case _:
                pass
        self._candidates[record.candidate] = one

    def _note_renewal(self, record: Renewal) -> None:
        if record.remaining_before == 0 and record.outcome is Outcome.OK:
            return  # the first one of a session
        slots = self._margins.setdefault(record.kind, {})
        slot = int(record.at // _SLOT)
        margin = max(0.0, record.remaining_before - record.seconds)
        slots[slot] = min(margin, slots.get(slot, margin))
        for old in [one for one in slots if one <= slot - _SLOTS]:
            del slots[old]

    def elections(self) -> list[ElectionState]:
        """The state of each election that a candidate of this process is in."""
        self._forget_parent()
        best: dict[_Labels, ElectionState] = {}
        for one in snapshot(self._candidates.values()):
            state, other = one.state, best.get(one.labels)
            if not one.is_lock and (other is None or state.remaining > other.remaining):
                best[one.labels] = state
        return list(best.values())

    def suspended_seconds(self) -> dict[tuple[str, str], float]:
        """Seconds for which leaders have led while renewals were unanswered, by key and kind of store."""
        self._forget_parent()
        now = clock.now()
        seconds = dict(snapshot(self._suspended.items()))
        for one in snapshot(self._candidates.values()):
            so_far = 0.0 if one.suspended_at is None else max(0.0, now - one.suspended_at)
            seconds[one.labels] = seconds.get(one.labels, 0.0) + so_far
        return seconds

    def least_margins(self) -> dict[str, float]:
        """The least rest of a lease at the end of a renewal in the last five minutes, by kind of store."""
        first = int(clock.now() // _SLOT) - _SLOTS
        found = {}
        for kind, slots in snapshot(self._margins.items()):
            recent = [least for slot, least in snapshot(slots.items()) if slot > first]
            if recent:
                found[kind] = min(recent)
        return found

    def _forget_parent(self) -> None:
        """Forget the candidates of the parent, in a forked child."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._candidates = {}
