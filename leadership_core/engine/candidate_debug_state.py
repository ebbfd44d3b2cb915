"""Debug state of a candidate: a snapshot for tests and for a debugger."""

from __future__ import annotations

from typing import NamedTuple

from ..events import LostReason
from .machine_state import MachineState
from .messages import Phase
from .session_keeper import SessionKeeper

__all__ = ["CandidateDebugState"]


class CandidateDebugState(NamedTuple):
    """A snapshot of one candidate for tests and for a debugger; not part of the public interface.

    Attributes:
        phase: of the state machine.
        token: of the term, while leading.
        answered: whether the store has been asked since the start, and has answered or failed to.
        working: whether work of an ended term may still be going on.
        session_id: of the session that it uses; None without one.
        requested_ttl: seconds.
        granted_ttl: seconds, of the session; None without one.
        deadline: the time of the clock up to which the lease is valid; None without one.
        lease_ended: why the lease is over, if that is recorded.
        orphaned_claims: how many claims are being withdrawn, or may just be being made.
        unconfirmed_claims: how many were left to the end of their session, unconfirmed.
    """

    phase: Phase
    token: int | None
    answered: bool
    working: bool
    session_id: str | None
    requested_ttl: float
    granted_ttl: float | None
    deadline: float | None
    lease_ended: LostReason | None
    orphaned_claims: int
    unconfirmed_claims: int

    @classmethod
    def of(
        cls,
        machine: MachineState,
        keeper: SessionKeeper | None,
        requested_ttl: float,
        orphaned_claims: int,
        unconfirmed_claims: int,
    ) -> CandidateDebugState:
        """Take a snapshot; each argument without a name above is what the driver has."""
        lease = None if keeper is None else keeper.lease
        session = None if keeper is None else keeper.session
        return cls(
            phase=machine.phase,
            token=machine.token,
            answered=machine.answered,
            working=machine.working,
            session_id=None if session is None else session.id,
            requested_ttl=requested_ttl,
            granted_ttl=None if lease is None else lease.granted_ttl,
            deadline=None if lease is None or not lease.acknowledged else lease.deadline,
            lease_ended=None if lease is None else lease.ended_reason,
            orphaned_claims=orphaned_claims,
            unconfirmed_claims=unconfirmed_claims,
        )
