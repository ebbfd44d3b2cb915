"""State of a candidate's state machine, and what follows from it."""

from __future__ import annotations

import random
from math import inf

from ..backend.protocols import Claim
from ..events import CandidateEvent
from . import messages
from .announcements import Announcements
from .campaign_backoff import CampaignBackoff
from .holdings import Holdings, Turn
from .messages import Phase

__all__ = ["MachineState"]


class MachineState:
    """State of one candidate, which `CandidateStateMachine` changes and its driver reads.

    Args:
        ttl: of its sessions, in seconds; bounds the waits between tries.
        rng: for their jitter.
        once: leave for good when the first term ends, for whatever reason.
        gated: whether the program says when it is ready; it is not before the first report.

    Attributes:
        phase: where the candidate is.
        token: of the term, while leading.
        working: whether work of an ended term may still be going on.
        held_back: the program is not ready, so it does not stand for election.
        answered: whether, since the start, it was elected, found another one ahead, or got no answer.
        enter_answered: whether, since the start, the store has answered a request to enter.
    """

    def __init__(
        self, ttl: float, rng: random.Random, *, once: bool = False, gated: bool = False
    ) -> None:
        self.phase: Phase = Phase.IDLE
        self.token: int | None = None
        self.working: bool = False
        self.held_back: bool = False
        self.answered: bool = False
        self.enter_answered: bool = False
        self._ttl, self._once, self._gated, self._ready = ttl, once, gated, not gated
        self._held = Holdings(ttl, rng)
        self._backoff_until = self._drain_until = inf
        self._stop_requested: messages.Stop | None = None
        self._announcements = Announcements(self._emit)
        self._backoff = CampaignBackoff(ttl, rng)
        self._led_since = self._now = -inf
        self._out: list[messages.Command] = []

    @property
    def due(self) -> float:
        """When `TimerFired` is due; the end of the lease is reported by its keeper."""
        return min(self._backoff_until, self._held.query.due, self._drain_until)

    @property
    def turn(self) -> Turn:
        """Whether it is in the queue of its key, or has the turn."""
        return self._held.turn

    @property
    def watched_claim(self) -> Claim | None:
        """The claim that waits and whose status is read as soon as its watch reports; else None."""
        if self.phase is Phase.WAITING and self._held.query.may_be_early(self._now):
            return self._held.claim
        return None

    @property
    def claim_confirmed(self) -> bool:
        """Whether the store has answered that it leads, or that its claim waits, and still answers."""
        is_confirmed = self.phase is Phase.LEADING or (
            self._held.turn is Turn.HELD
            and (
                self.phase is Phase.DRAINING
                or (self.phase is Phase.WAITING and self._held.answered)
            )
        )
        return is_confirmed and not self._announcements.is_down

    @property
    def awaits_answer(self) -> bool:
        """Whether it has no usable answer of the store, so that `AnotherAhead` would be news."""
        return not self.answered or self._announcements.is_down

    def _is_lease_valid(self) -> bool:
        return self._held.is_lease_valid(self._now)

    def _emit(self, event: CandidateEvent) -> None:
        if self.phase is not Phase.STOPPED:
            self._out.append(messages.Emit(event))
