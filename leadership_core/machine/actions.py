"""What a campaign tells the engine to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..events import CandidateEvent, Lost, Resigned
from ..store import Claim


@dataclass(frozen=True, slots=True)
class Join:
    """Find a session for it; answer `Joined`."""


@dataclass(frozen=True, slots=True)
class Part:
    """It does not use the session any more."""


@dataclass(frozen=True, slots=True)
class Enter:
    """Make a claim; answer `Entered` or `Failed`."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask how the claim stands, being told of changes from before that; `Stood` or `Failed`."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Changes of the claim's standing are of no interest any more."""


@dataclass(frozen=True, slots=True)
class Believe:
    """A term begins."""

    token: int


@dataclass(frozen=True, slots=True)
class Disbelieve:
    """The term ends, now; answer `Drained` when no work of it is going on."""

    event: Lost | Resigned


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the claim away; answer `Withdrawn` or `Failed`."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Discard:
    """Nobody wants this claim: see to it that it goes, for as long as its session lives."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Released:
    """The store has confirmed that the claim is gone."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Tell:
    """An event for the user."""

    event: CandidateEvent


@dataclass(frozen=True, slots=True)
class Raise:
    """An error for the user; it does not go on."""

    error: Exception


Action: TypeAlias = (
    Join | Part | Enter | Ask | Unwatch | Believe | Disbelieve | Withdraw | Discard | Released
    | Tell | Raise
)  # fmt: skip
