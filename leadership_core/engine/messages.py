"""The vocabulary of a candidate's state machine: its phases, its inputs, and its commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from ..backend.protocols import Claim, ClaimStatus
from ..errors import ConfigurationError, ForkedStore, StoreClosed, StoreUnavailable
from ..events import CandidateEvent, Lost, LostReason, Resigned
from .lease import Lease


class Phase(Enum):
    """Where a candidate is.

    IDLE ── OPENING_SESSION ── QUEUED ── ENTERING ── WAITING ── LEADING
                   │                        │           │          │
                   └─────────────────── BACKING_OFF ────┘       DRAINING ── WITHDRAWING ── BACKING_OFF, IDLE, STOPPED

    Where the program says when it is ready, CHECKING_READINESS comes before OPENING_SESSION and QUEUED.
    A candidate has the turn among those of its key in this process from ENTERING until its claim is gone,
    or left to its session.
    """

    IDLE = auto()  # does not campaign
    CHECKING_READINESS = auto()  # waits for the program to be ready
    OPENING_SESSION = auto()  # waits for a session
    BACKING_OFF = auto()  # waits for a time: a cooldown, a retry
    QUEUED = auto()  # waits while another candidate of this process has a claim, or makes one
    ENTERING = auto()  # the request that makes a claim is under way
    WAITING = auto()  # has a claim, and does not lead
    LEADING = auto()  # has a term
    DRAINING = auto()  # the term has ended; work that the library runs may still be going on
    WITHDRAWING = auto()  # the request that withdraws the claim is under way
    STOPPED = auto()  # will not campaign again


# -- inputs ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The user wants it to campaign."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The user wants it to leave; for good, or until the next `Start`."""

    for_good: bool = True


@dataclass(frozen=True, slots=True)
class Abandon:
    """No time is left to leave in order: what the store holds is left to its ttl."""


@dataclass(frozen=True, slots=True)
class Resign:
    """The user wants it to give up the term of that token and to back off for `cooldown` seconds."""

    token: int
    cooldown: float


@dataclass(frozen=True, slots=True)
class SessionReady:
    """A session is open, and a renewal of it was acknowledged."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class SessionRejected:
    """No session can be opened as configured."""

    error: Exception


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """No session could be opened, or its renewal got no answer."""

    error: StoreUnavailable


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal was acknowledged after one that was not."""


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """The lease is over: the only report that a session is lost, made once for each session.

    Attributes:
        lease: which; the end of one that the candidate uses no more changes nothing.
        reason: why.
    """

    lease: Lease
    reason: LostReason


@dataclass(frozen=True, slots=True)
class TurnGranted:
    """No other candidate of this process is in the election for the key any more: it may enter."""


@dataclass(frozen=True, slots=True)
class AnotherAhead:
    """The store has answered that the claim of the candidate with the turn leads, or waits.

    So the candidates of this process behind it are not elected, without a request of their own.
    """


@dataclass(frozen=True, slots=True)
class SessionUnusable:
    """The session cannot enter the key: its lease is over, or an orphaned claim may be bound to it."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Entered:
    """There is a claim."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """The store's answer on the claim.

    It may end a term, too: `Absent` or `Waiting` for a leader says that the claim was deleted or
    overwritten, while its lease may go on.
    """

    ticket: int
    status: ClaimStatus


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The store has confirmed that the claim is gone."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed, with an error other than `SessionLost`: that is reported by `LeaseEnded`."""

    ticket: int
    error: StoreUnavailable | StoreClosed | ForkedStore | ConfigurationError


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The status of the claim may have changed."""


@dataclass(frozen=True, slots=True)
class WorkFinished:
    """No work of the ended term is going on."""


@dataclass(frozen=True, slots=True)
class ReadinessReported:
    """The program has said whether it is ready; no answer in time is a no."""

    ready: bool


@dataclass(frozen=True, slots=True)
class WatchdogExpired:
    """The work of the term of that token has given no sign of life for too long."""

    token: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """Time has passed."""


Input: TypeAlias = (
    Start | Stop | Abandon | Resign | SessionReady | SessionRejected | RenewalFailed | Renewed | LeaseEnded
    | TurnGranted | AnotherAhead | SessionUnusable | Entered | StatusReceived | Withdrawn | Failed | StatusChanged | WorkFinished | ReadinessReported | WatchdogExpired
    | TimerFired
)  # fmt: skip
"""What the state machine takes in."""


# -- commands ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckReadiness:
    """Ask the program at once whether it is ready; answer `ReadinessReported`, now and from then on."""


@dataclass(frozen=True, slots=True)
class AcquireSession:
    """Find a session for the candidate; answer `SessionReady`."""


@dataclass(frozen=True, slots=True)
class ReleaseSession:
    """The candidate does not use the session any more."""


@dataclass(frozen=True, slots=True)
class JoinQueue:
    """Wait among the candidates of this process for the key; answer `TurnGranted`.

    Attributes:
        returning: it gets its earlier place again, because it was not elected since it had that.
    """

    returning: bool


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    """Wait no more, or let the next candidate of this process have the turn."""


@dataclass(frozen=True, slots=True)
class Enter:
    """Make a claim; answer `Entered`, `Failed` or `SessionUnusable`."""

    ticket: int


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """Watch the claim, then read its status; answer `StatusReceived` or `Failed`."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Unwatch:
    """End the watch of the claim."""


@dataclass(frozen=True, slots=True)
class BeginTerm:
    """A term begins."""

    token: int


@dataclass(frozen=True, slots=True)
class EndTerm:
    """The term ends, now; answer `WorkFinished` when no work of it is going on."""

    event: Lost | Resigned


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Withdraw the claim; answer `Withdrawn` or `Failed`."""

    ticket: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class ReapClaim:
    """The claim is orphaned: withdraw it, for as long as its session lives.

    Attributes:
        claim: which.
        token: of the term that it had, or None.
    """

    claim: Claim
    token: int | None


@dataclass(frozen=True, slots=True)
class Released:
    """The store has confirmed that the claim is gone; the token is that of its term, or None."""

    token: int | None


@dataclass(frozen=True, slots=True)
class Emit:
    """Queue an event for the user."""

    event: CandidateEvent


@dataclass(frozen=True, slots=True)
class Fail:
    """Give the user an error; the candidate ends."""

    error: Exception


Command: TypeAlias = (
    CheckReadiness | AcquireSession | ReleaseSession | JoinQueue | LeaveQueue | Enter | QueryStatus | Unwatch | BeginTerm | EndTerm | Withdraw | ReapClaim
    | Released | Emit | Fail
)  # fmt: skip
"""What the state machine gives out."""
