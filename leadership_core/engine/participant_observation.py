"""Reports of candidates and followers to observers: their events, and their present state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from ..backend.observation import hub
from ..events import Elected, LeaderChanged, Lost, Stopped
from .instrumentation import ObservedStore

if TYPE_CHECKING:
    from ..backend.protocols import Leader
    from ..backend.records import Record
    from ..events import CandidateEvent, FollowerEvent
    from ..term import Term

__all__ = ["CandidateObservation", "FollowerObservation"]

_numbers = count(1)  # of candidates and followers

_BEGINS = {
    "elected": "campaigning",
    "suspended": "elected",
    "resumed": "suspended",
    "lost": "elected",
    "resigned": "elected",
    "store_up": "store_down",
    "leader_changed": "leader_changed",
}
"""The event since which each event counts the seconds."""


def _seconds_since(times: dict[str, float], event: str, now: float) -> float | None:
    """Note the event among the times of the latest events; the seconds since the one that began what it ends."""
    begun = times.get(_BEGINS.get(event, ""))
    times[event] = now
    return None if begun is None else now - begun


class CandidateObservation:
    """Reports the events of one candidate; used in the scheduler's thread only.

    Args:
        store: whose.
        key: of the election, as users see it.
        value: the candidate's.
        ttl: seconds, as requested.
        lock: whether it is an acquisition of a lock.
    """

    __slots__ = ("_campaigns", "_key", "_lock", "_number", "_store", "_times", "_ttl", "_value")

    def __init__(
        self, store: ObservedStore, key: str, value: str, ttl: float, *, lock: bool
    ) -> None:
        self._store, self._key, self._value, self._ttl, self._lock = store, key, value, ttl, lock
        self._number = next(_numbers)
        self._times: dict[str, float] = {}  # of the latest event of each name
        self._campaigns = False

    def report(self, event: CandidateEvent, token: int | None) -> None:
        """Report an event; the token is that of the term it belongs to."""
        self._campaigns = not isinstance(event, Stopped)
        reason = event.reason.value if isinstance(event, Lost) else None
        term = event.term if isinstance(event, Elected) else None
        self._report(event.name, token, reason, term)

    def note_idle(self, idle: bool) -> None:
        """Report that it has left, or campaigns again, where there is no event that says so."""
        if idle is self._campaigns:
            self._campaigns = not idle
            self._report("left" if idle else "campaigning")

    def _report(
        self,
        event: str,
        token: int | None = None,
        reason: str | None = None,
        term: Term | None = None,
    ) -> None:
        now = self._store.now()
        seconds = _seconds_since(self._times, event, now)
        if hub.active:
            with suppress(Exception):  # no memory: the event counts, not its report
                hub.report(self._record(event, now, token, reason, term, seconds))

    def present(self, term: Term | None) -> Iterator[Record]:
        """The present state, for an observer that is registered now; from any thread.

        Args:
            term: the present one, if any.
        """
        times = self._times
        if not self._campaigns:
            return
        yield self._record("campaigning", times.get("campaigning", self._store.now()), present=True)
        if term is None or term.lost:
            return
        elected, suspended = times.get("elected", self._store.now()), times.get("suspended", -inf)
        yield self._record("elected", elected, term.token, term=term, present=True)
        if suspended > max(elected, times.get("resumed", -inf)):
            yield self._record("suspended", suspended, term.token, present=True)

    def _record(
        self,
        event: str,
        at: float,
        token: int | None = None,
        reason: str | None = None,
        term: Term | None = None,
        seconds: float | None = None,
        *,
        present: bool = False,
    ) -> Record:
        from ..backend.records import CandidateTransition

        return CandidateTransition(
            at=at,
            store=self._store.url,
            kind=self._store.kind,
            event=event,
            key=self._key,
            value=self._value,
            candidate=self._number,
            lock=self._lock,
            ttl=self._ttl,
            token=token,
            reason=reason,
            seconds=seconds,
            term=term,
            present=present,
        )


class FollowerObservation:
    """Reports the events of one follower; used in the scheduler's thread only.

    Args:
        store: whose.
        key: of the election, as users see it.
    """

    def __init__(self, store: ObservedStore, key: str) -> None:
        self._store, self._key = store, key
        self._number = next(_numbers)
        self._times: dict[str, float] = {}  # of the latest event of each name

    def report(self, event: FollowerEvent) -> None:
        """Report an event."""
        now = self._store.now()
        seconds = _seconds_since(self._times, event.name, now)
        if hub.active:
            leader = event.leader if isinstance(event, LeaderChanged) else None
            with suppress(Exception):  # as above
                hub.report(self._record(event.name, now, leader, seconds))

    def present(self, leader: Leader | None) -> Iterator[Record]:
        """The present leader, for an observer that is registered now; from any thread."""
        at = self._times.get("leader_changed")
        if at is not None:
            yield self._record("leader_changed", at, leader, None, present=True)

    def _record(
        self,
        event: str,
        at: float,
        leader: Leader | None,
        seconds: float | None,
        *,
        present: bool = False,
    ) -> Record:
        from ..backend.records import FollowerTransition

        return FollowerTransition(
            at=at,
            store=self._store.url,
            kind=self._store.kind,
            event=event,
            key=self._key,
            follower=self._number,
            value=None if leader is None else leader.value,
            token=None if leader is None else leader.token,
            seconds=seconds,
            present=present,
        )
