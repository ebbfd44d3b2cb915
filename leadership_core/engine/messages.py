"""The vocabulary of a candidate's state machine: its phases, its inputs, and its commands.

Inputs and commands are named tuples, which are made faster than dataclasses, and whose classes are. They are told
apart by their classes: two of different classes may be equal.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, TypeAlias

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
    QUEUED = auto()  # waits while other candidates of this process have claims, or make them
    ENTERING = auto()  # the request that makes a claim is under way
    WAITING = auto()  # has a claim, and does not lead
    LEADING = auto()  # has a term
    DRAINING = auto()  # the term has ended; work that the library runs may still be going on
    WITHDRAWING = auto()  # the request that withdraws the claim is under way
    STOPPED = auto()  # will not campaign again


# -- inputs ------------------------------------------------------------------------------


class Start(NamedTuple):
    """The user wants it to campaign."""


class Stop(NamedTuple):
    """The user wants it to leave; for good, or until the next `Start`."""

    for_good: bool = True


class Abandon(NamedTuple):
    """No time is left to leave in order: what the store holds is left to its ttl."""


class Resign(NamedTuple):
    """The user wants it to give up the term of that token and to back off for `cooldown` seconds."""

    token: int
    cooldown: float


class SessionReady(NamedTuple):
    """A session is open, and a renewal of it was acknowledged."""

    lease: Lease


class SessionRejected(NamedTuple):
    """No session can be opened as configured."""

    error: Exception


class RenewalFailed(NamedTuple):
    """No session could be opened, or its renewal got no answer."""

    error: StoreUnavailable


class Renewed(NamedTuple):
    """A renewal was acknowledged after one that was not."""


class LeaseEnded(NamedTuple):
    """The lease is over: the only report that a session is lost, made once for each session.

    Attributes:
        lease: which; the end of one that the candidate uses no more changes nothing.
        reason: why.
    """

    lease: Lease
    reason: LostReason


class TurnGranted(NamedTuple):
    """It may enter: no other candidate of this process is in the election for the key, or the leader alone.

    Attributes:
        lease: of the session to enter with; None for the one that the candidate has.
    """

    lease: Lease | None = None


class AnotherAhead(NamedTuple):
    """The store has answered that the claim of the candidate with the turn leads, or waits.

    So the candidates of this process behind it are not elected, without a request of their own.
    """


class SessionUnusable(NamedTuple):
    """The session cannot enter the key: its lease is over, or an orphaned claim may be bound to it."""

    ticket: int


class Entered(NamedTuple):
    """There is a claim."""

    ticket: int
    claim: Claim


class StatusReceived(NamedTuple):
    """The store's answer on the claim.

    It may end a term, too: `Absent` or `Waiting` for a leader says that the claim was deleted or
    overwritten, while its lease may go on.
    """

    ticket: int
    status: ClaimStatus


class Withdrawn(NamedTuple):
    """The store has confirmed that the claim is gone."""

    ticket: int


class Failed(NamedTuple):
    """A request failed, with an error other than `SessionLost`: that is reported by `LeaseEnded`."""

    ticket: int
    error: StoreUnavailable | StoreClosed | ForkedStore | ConfigurationError


class StatusChanged(NamedTuple):
    """The status of the claim may have changed."""


class WorkFinished(NamedTuple):
    """No work of the ended term is going on."""


class ReadinessReported(NamedTuple):
    """The program has said whether it is ready; no answer in time is a no."""

    ready: bool


class WatchdogExpired(NamedTuple):
    """The work of the term of that token has given no sign of life for too long."""

    token: int


class TimerFired(NamedTuple):
    """Time has passed."""


Input: TypeAlias = (
    Start | Stop | Abandon | Resign | SessionReady | SessionRejected | RenewalFailed | Renewed | LeaseEnded
    | TurnGranted | AnotherAhead | SessionUnusable | Entered | StatusReceived | Withdrawn | Failed | StatusChanged | WorkFinished | ReadinessReported | WatchdogExpired
    | TimerFired
)  # fmt: skip
"""What the state machine takes in."""


# -- commands ----------------------------------------------------------------------------


class CheckReadiness(NamedTuple):
    """Ask the program at once whether it is ready; answer `ReadinessReported`, now and from then on."""


class AcquireSession(NamedTuple):
    """Find a session for the candidate; answer `SessionReady`."""


class ReleaseSession(NamedTuple):
    """The candidate does not use the session any more."""


class JoinQueue(NamedTuple):
    """Wait among the candidates of this process for the key; answer `TurnGranted`.

    Attributes:
        returning: it gets its earlier place again, because it was not elected since it had that.
    """

    returning: bool


class LeaveQueue(NamedTuple):
    """Wait no more, or let the next candidate of this process have the turn."""


class Enter(NamedTuple):
    """Make a claim; answer `Entered`, `Failed` or `SessionUnusable`."""

    ticket: int


class QueryStatus(NamedTuple):
    """Watch the claim, then read its status; answer `StatusReceived` or `Failed`."""

    ticket: int
    claim: Claim


class Unwatch(NamedTuple):
    """End the watch of the claim."""


class BeginTerm(NamedTuple):
    """A term begins."""

    token: int


class EndTerm(NamedTuple):
    """The term ends, now; answer `WorkFinished` when no work of it is going on."""

    event: Lost | Resigned


class Withdraw(NamedTuple):
    """Withdraw the claim; answer `Withdrawn` or `Failed`."""

    ticket: int
    claim: Claim


class ReapClaim(NamedTuple):
    """The claim is orphaned: withdraw it, for as long as its session lives.

    Attributes:
        claim: which.
        token: of the term that it had, or None.
    """

    claim: Claim
    token: int | None


class Released(NamedTuple):
    """The store has confirmed that the claim is gone; the token is that of its term, or None."""

    token: int | None


class Emit(NamedTuple):
    """Queue an event for the user."""

    event: CandidateEvent


class Fail(NamedTuple):
    """Give the user an error; the candidate ends."""

    error: Exception


Command: TypeAlias = (
    CheckReadiness | AcquireSession | ReleaseSession | JoinQueue | LeaveQueue | Enter | QueryStatus | Unwatch | BeginTerm | EndTerm | Withdraw | ReapClaim
    | Released | Emit | Fail
)  # fmt: skip
"""What the state machine gives out."""
