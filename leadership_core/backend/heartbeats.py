"""Heartbeats of sessions, and their expiry by observation: values and rules, without I/O.

A session that no clock of a server ends is a record that its holder renews by writing another
heartbeat. A process that reads the same heartbeat for the whole ttl, by its own clock, knows that the session was
not renewed meanwhile. No clock of the store is used, nor any time in the record.

The ttl counts from the *answer* in which the heartbeat was first seen. It was written before that
answer, and sent before it was written, so the holder counts its own ttl from an earlier moment. Counting
from the request would be wrong: the heartbeat may have been written after the request was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from .clock import Clock
from .validation import LONGEST_TTL, is_finite_number, safe_repr

__all__ = [
    "UNREADABLE_TTL",
    "Heartbeat",
    "HeartbeatStore",
    "HolderDeadline",
    "ObservedExpiry",
    "observed_within",
    "observing_interval",
]

log: logging.Logger = logging.getLogger("leadership.session")

UNREADABLE_TTL = 60.0
"""Seconds after which a session whose record names no valid ttl is over, if the record has not changed."""

_LEAST_TTL = 0.1  # as `check_ttl` has it
_LONGEST_INTERVAL = 1.0
_ROUND_TRIP = 0.5  # seconds, for a read and the writes that follow from it
_MOST_KNOWN = 10_000  # sessions; each is known again with the next answer


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat of a session: equal to another one only if no renewal came between them.

    Attributes:
        session: the id of the session.
        ttl: seconds, as the record names them.
        beat: identifies the renewal, such as a counter with a random number of that attempt, or a revision.
        known_as: what the store needs to compare it, such as the entry; not compared here.
    """

    session: str
    ttl: float
    beat: Hashable
    known_as: object = field(default=None, compare=False, repr=False)


class HeartbeatStore(Protocol):
    """The access of `ObservedElection` to sessions; the object must have a `__dict__`, so no `__slots__` without it.

    The methods are called in any thread, several at once, and end within `remaining_timeout()`.
    """

    def read_heartbeats(self, sessions: Collection[str]) -> dict[str, Heartbeat]:
        """Read the present heartbeats, linearizably; a session that is over is missing.

        Raises:
            StoreUnavailable: no answer.
        """

    def end_session(self, heartbeat: Heartbeat) -> bool:
        """End the session if this is still its heartbeat, in one atomic step; returns whether it is over now.

        True also if it was over before; False if it has been renewed. Once it is over, a renewal that
        is under way must fail.

        Raises:
            StoreUnavailable: no answer; it may have been ended.
        """


def observing_interval(ttl: float) -> float:
    """Seconds between two reads of a session with that ttl, in seconds."""
    return min(_LONGEST_INTERVAL, bounded_ttl(ttl) / 5)


def observed_within(ttl: float) -> float:
    """Seconds after its last renewal within which an observer ends a session that is not renewed.

    For `expires_within` of a store whose elections are `ObservedElection`.

    Args:
        ttl: of the session, in seconds.
    """
    return ttl + 2 * observing_interval(ttl) + _ROUND_TRIP


def bounded_ttl(ttl: float) -> float:
    """Seconds for which a heartbeat with that ttl must be observed.

    `UNREADABLE_TTL` if the ttl is outside the range that holders write, so that no record blocks an election forever.
    """
    if not is_finite_number(ttl) or not _LEAST_TTL / 2 <= ttl <= LONGEST_TTL:
        return UNREADABLE_TTL
    return ttl


@dataclass(frozen=True, slots=True)
class _Sight:
    heartbeat: Heartbeat
    first_answer: float  # the first one with this heartbeat
    last_request: float  # the latest one that was answered with it
    last_answer: float
    warned: bool = False


class ObservedExpiry:
    """The heartbeats that one process has read, and what follows from them; without I/O, clock or thread.

    Thread-safe: each method is a few operations that the interpreter does not divide, on a table whose rows
    are replaced, never changed. If a late answer is noted after a newer one, the ttl only counts from
    a later time.

    Example:
        >>> expiry = ObservedExpiry()
        >>> expiry.note(Heartbeat("a", ttl=3.0, beat=7), sent=10.0, answered=10.1)
        >>> expiry.may_end("a", now=13.0), expiry.may_end("a", now=13.2)
        (False, True)
        >>> expiry.note(Heartbeat("a", ttl=3.0, beat=8), sent=13.2, answered=13.3)
        >>> expiry.may_end("a", now=13.4)
        False
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Sight] = {}

    def note(self, heartbeat: Heartbeat, *, sent: float, answered: float) -> None:
        """Note an answer that names this heartbeat.

        Args:
            heartbeat: as it was read.
            sent: the time of the boot clock before the request was sent.
            answered: the time of the boot clock after the answer had arrived.
        """
        seen = self._seen.pop(heartbeat.session, None)
        same = seen is not None and seen.heartbeat == heartbeat
        if seen is None or not same:
            warned = seen is not None and seen.warned
            self._seen[heartbeat.session] = _Sight(
                heartbeat, answered, sent, answered, warned=self._warn(heartbeat, warned)
            )
            while len(self._seen) > _MOST_KNOWN:
                self._seen.pop(next(iter(self._seen)), None)
            return
        self._seen[heartbeat.session] = _Sight(
            heartbeat,
            seen.first_answer,
            max(seen.last_request, sent),
            max(seen.last_answer, answered),
            seen.warned,
        )

    def _warn(self, heartbeat: Heartbeat, warned: bool) -> bool:
        if bounded_ttl(heartbeat.ttl) == heartbeat.ttl:
            return warned
        if not warned:
            log.warning(
                "the session %s names a ttl of %s s, which no candidate writes: it is over once it "
                "was not renewed for %g s",
                *(heartbeat.session, safe_repr(heartbeat.ttl), UNREADABLE_TTL),
            )
        return True

    def forget(self, session: str) -> None:
        """Forget the session: it is over, or of no interest any more."""
        self._seen.pop(session, None)

    def heartbeat(self, session: str) -> Heartbeat | None:
        """The heartbeat that was seen last, to be ended; None for a session that is not known."""
        seen = self._seen.get(session)
        return None if seen is None else seen.heartbeat

    def due(self, session: str) -> float:
        """The time at which its heartbeat will have been observed for the whole ttl; inf if it is not known."""
        seen = self._seen.get(session)
        return inf if seen is None else seen.first_answer + bounded_ttl(seen.heartbeat.ttl)

    def may_end(self, session: str, now: float) -> bool:
        """Whether `end_session` may be sent: its comparison fails if a renewal has come meanwhile.

        Args:
            session: the id of the session.
            now: the time of the boot clock before the request is sent.
        """
        return now >= self.due(session)

    def is_silent(self, session: str) -> bool:
        """Whether answers prove that it was not renewed for the whole ttl, as for a reader that ends nothing.

        The latest of them was *requested* that long after the first one had arrived.
        """
        seen = self._seen.get(session)
        return seen is not None and seen.last_request >= self.due(session)

    def next_look(self, session: str) -> float:
        """The time at which the session is to be read next; -inf for one that is not known."""
        seen = self._seen.get(session)
        if seen is None:
            return -inf
        due, regular = self.due(session), seen.last_answer + observing_interval(seen.heartbeat.ttl)
        return due if seen.last_request < due < regular else regular


class HolderDeadline:
    """The latest moment at which a session may be alive, by its own holder's clock; for a plugin's `Session`.

    The engine does not need it, because its lease ends earlier. It is for sessions that are used without the engine, and
    for the rule that a session whose deadline has passed is ended at the store, not renewed.

    Args:
        ttl: seconds.
        now: the boot clock, `time_source_of(store).clock`.
        sent: the time of the clock before the request was sent that has opened the session.
    """

    def __init__(self, ttl: float, now: Clock, sent: float) -> None:
        self._ttl = ttl
        self._now = now
        self._sent = sent

    def acknowledge(self, sent: float) -> None:
        """Note that a renewal was applied that was sent at that time or later."""
        self._sent = max(self._sent, sent)

    @property
    def passed(self) -> bool:
        """Whether more than the ttl has passed since the last acknowledged renewal was sent."""
        return self._now() - self._sent > self._ttl
