"""Holdings of a candidate: its session, its claim, the request under way, and its turn to have a claim.

Like the state machine that it belongs to, it is pure: its methods return commands.
"""

from __future__ import annotations

import random
from enum import Enum, auto

from ..backend.protocols import Claim
from . import messages
from .lease import Lease
from .status_query import StatusQuery

__all__ = ["Holdings", "Turn"]


class Turn(Enum):
    """Whether it is the candidate's turn among those of its key in this process."""

    NONE = auto()  # it is not in the queue
    AWAITED = auto()
    HELD = auto()


class Holdings:
    """What one candidate has, at the store and in the queue of its key.

    Args:
        ttl: of its sessions, in seconds.
        rng: for the jitter of queries.

    Attributes:
        lease: of the session; None without one.
        claim: None without one.
        claim_token: of the term that the claim has, or had.
        ticket: of the request whose answer counts; earlier ones are stale.
        query: of the claim's status.
        turn: whether it may have a claim.
        keeps_place: whether it gets its earlier place in the queue back, not having been elected.
        answered: whether the store has answered that the claim waits.
    """

    __slots__ = (
        "answered",
        "claim",
        "claim_token",
        "keeps_place",
        "lease",
        "query",
        "ticket",
        "turn",
    )

    def __init__(self, ttl: float, rng: random.Random) -> None:
        self.lease: Lease | None = None
        self.claim: Claim | None = None
        self.claim_token: int | None = None
        self.ticket: int = 0
        self.query: StatusQuery = StatusQuery(ttl, rng)
        self.turn: Turn = Turn.NONE
        self.keeps_place: bool = False
        self.answered: bool = False

    def is_lease_valid(self, now: float) -> bool:
        """Whether there is a session, and its lease is valid."""
        return self.lease is not None and self.lease.is_valid(now)

    def join_queue(self) -> list[messages.Command]:
        """Ask for the turn."""
        commands = self.leave_queue()
        self.turn = Turn.AWAITED
        returning, self.keeps_place = self.keeps_place, True
        return [*commands, messages.JoinQueue(returning)]

    def leave_queue(self) -> list[messages.Command]:
        """Ask for the turn no more, or give it back."""
        if self.turn is Turn.NONE:
            return []
        self.turn = Turn.NONE
        return [messages.LeaveQueue()]

    def enter(self) -> list[messages.Command]:
        """Make a claim."""
        self.turn = Turn.HELD
        self.answered = False
        self.ticket += 1
        return [messages.Enter(self.ticket)]

    def query_status(self, now: float) -> list[messages.Command]:
        """Read the status of the claim, unless that is under way, or not due yet."""
        assert self.claim is not None
        if not self.query.begin(now):
            return []
        self.ticket += 1
        return [messages.QueryStatus(self.ticket, self.claim)]

    def withdraw(self) -> list[messages.Command]:
        """Withdraw the claim."""
        assert self.claim is not None
        self.forget_requests()
        self.ticket += 1
        # In this order: others wait for the withdrawal.
        return [messages.Withdraw(self.ticket, self.claim), messages.Unwatch()]

    def forget_requests(self) -> None:
        """Let the answers that are on their way be stale."""
        self.ticket += 1
        self.query.cancel()

    def drop_claim(self) -> list[messages.Command]:
        """Forget the claim, which is gone or left to its session."""
        commands: list[messages.Command] = [] if self.claim is None else [messages.Unwatch()]
        self.claim = self.claim_token = None
        self.forget_requests()
        return commands

    def release_session(self) -> list[messages.Command]:
        """Give up the session; the store may keep the claim until the end of that."""
        orphaned: list[messages.Command] = []
        if self.claim is not None:
            orphaned.append(messages.ReapClaim(self.claim, self.claim_token))
        commands = [*orphaned, *self.drop_claim(), messages.ReleaseSession()]
        self.lease = None
        return commands
