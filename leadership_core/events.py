"""The story of a candidate, as typed events.

    Campaigning ── Elected ──┬── Lost ─────┬── Campaigning ... Stopped
                     │       └── Resigned ─┘
                     └ Suspended, Resumed

A term that was led ends with exactly one of `Lost` and `Resigned`. `Stopped` is the last.
`StoreDown` and `StoreUp` may come anywhere before it, and take turns. A follower's story has
`LeaderChanged` in place of all the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .errors import StoreUnavailable
from .lease import LostReason

if TYPE_CHECKING:
    from .store import Leader
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
    """Something that happened to a candidate."""

    @property
    def name(self) -> str:
        """The event's name in snake case, as the command line prints it."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


@dataclass(frozen=True, slots=True)
class Campaigning(Event):
    """It stands for election."""


@dataclass(frozen=True, slots=True)
class Elected(Event):
    """It leads, for this term."""

    term: Term


@dataclass(frozen=True, slots=True)
class Suspended(Event):
    """It still leads, but a renewal went unanswered; the term ends in `remaining` seconds."""

    remaining: float


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """A renewal was acknowledged again in time."""


@dataclass(frozen=True, slots=True)
class Lost(Event):
    """The term ended, and it was not its leader's wish."""

    reason: LostReason


@dataclass(frozen=True, slots=True)
class Resigned(Event):
    """The term ended by `resign`, by `stop`, or because the work returned."""


@dataclass(frozen=True, slots=True)
class LeaderChanged(Event):
    """A follower sees another leader, or none."""

    leader: Leader | None


@dataclass(frozen=True, slots=True)
class StoreDown(Event):
    """The store gives no usable answers; campaigning goes on."""

    error: StoreUnavailable


@dataclass(frozen=True, slots=True)
class StoreUp(Event):
    """The store answers again."""


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The candidate has left for good; nothing comes after it."""


CandidateEvent: TypeAlias = (
    Campaigning | Elected | Suspended | Resumed | Lost | Resigned | StoreDown | StoreUp | Stopped
)
"""All that `Candidate.events` yields, so that a type checker knows whether a `match` is complete."""

FollowerEvent: TypeAlias = LeaderChanged | StoreDown | StoreUp | Stopped
"""All that `Follower.events` yields."""
