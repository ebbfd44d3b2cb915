"""Events of candidates and followers, as typed values.

    Campaigning ── Elected ──┬── Lost ─────┬── Campaigning ... Stopped
                     │       └── Resigned ─┘
                     └ Suspended, Resumed

A term ends with exactly one of `Lost` and `Resigned`. `Stopped` is the last event. `StoreDown` and
`StoreUp` may come anywhere before it, and alternate. A follower has these three, and
`LeaderChanged` in place of all the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .errors import StoreUnavailable
from .term import LostReason

if TYPE_CHECKING:
    from .backend.protocols import Leader
    from .term import Term

__all__ = [
    "Campaigning",
    "CandidateEvent",
    "Elected",
    "Event",
    "FollowerEvent",
    "LeaderChanged",
    "Lost",
    "LostReason",
    "Resigned",
    "Resumed",
    "Stopped",
    "StoreDown",
    "StoreUp",
    "Suspended",
]


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events of candidates and followers."""

    @property
    def name(self) -> str:
        """The event's name in snake case, as the command line prints it."""
        kind = type(self)
        if kind not in _NAMES:
            _NAMES[kind] = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        return _NAMES[kind]


_NAMES: dict[type[Event], str] = {}


@dataclass(frozen=True, slots=True)
class Campaigning(Event):
    """The candidate campaigns."""


@dataclass(frozen=True, slots=True)
class Elected(Event):
    """The candidate leads, for this term."""

    term: Term


@dataclass(frozen=True, slots=True)
class Suspended(Event):
    """The candidate still leads, but a renewal is unanswered; the term ends in `remaining` seconds."""

    remaining: float


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """A renewal was acknowledged again in time."""


@dataclass(frozen=True, slots=True)
class Lost(Event):
    """The term has ended, and not at the wish of its leader."""

    reason: LostReason


@dataclass(frozen=True, slots=True)
class Resigned(Event):
    """The term has ended by `resign`, by `stop`, or because the work returned."""


@dataclass(frozen=True, slots=True)
class LeaderChanged(Event):
    """A follower sees another leader, or none."""

    leader: Leader | None


@dataclass(frozen=True, slots=True)
class StoreDown(Event):
    """The store gives no usable answers; the candidate or follower goes on."""

    error: StoreUnavailable


@dataclass(frozen=True, slots=True)
class StoreUp(Event):
    """The store answers again."""


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The candidate or follower has stopped; no event comes after it."""


CandidateEvent: TypeAlias = (
    Campaigning | Elected | Suspended | Resumed | Lost | Resigned | StoreDown | StoreUp | Stopped
)
"""The events of `Candidate.events`; a type checker can check a `match` over them for completeness."""

FollowerEvent: TypeAlias = LeaderChanged | StoreDown | StoreUp | Stopped
"""The events of `Follower.events`."""
