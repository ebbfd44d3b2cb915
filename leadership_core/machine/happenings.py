"""What the engine tells a campaign: what the user wants, and what came of its actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..lease import Lease
from ..store import Claim, Standing


@dataclass(frozen=True, slots=True)
class Start:
    """The user wants it to stand."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The user wants it to leave; for good, or until the next `Start`."""

    for_good: bool = True


@dataclass(frozen=True, slots=True)
class Abandon:
    """No time is left to leave in order: what the store holds is left to its ttl."""


@dataclass(frozen=True, slots=True)
class Resign:
    """The user wants it to give up the term of that token and rest for `cooldown` seconds."""

    token: int
    cooldown: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A session is there, and a renewal of it was acknowledged."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot work as configured."""

    error: Exception


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """No session could be opened, or its renewal got no answer."""

    error: StoreUnavailable


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal was acknowledged after one that was not."""


@dataclass(frozen=True, slots=True)
class LeaseOver:
    """The deadline has passed, or the store has ended the session."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Entered:
    """There is a claim."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Stood:
    """The store says how the claim stands."""

    ticket: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The store has confirmed that the claim is gone."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed."""

    ticket: int
    error: StoreError | ConfigurationError


@dataclass(frozen=True, slots=True)
class Turned:
    """The standing may have changed."""


@dataclass(frozen=True, slots=True)
class Drained:
    """No work of the ended term is going on."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Happening: TypeAlias = (
    Start | Stop | Abandon | Resign | Joined | Refused | RenewalFailed | Renewed | LeaseOver
    | Entered | Stood | Withdrawn | Failed | Turned | Drained | Tick
)  # fmt: skip
