"""What one session promises: until when whoever holds it may believe to lead.

Rests on one promise of the store: a session ends no earlier than its ttl after the renewal
was *applied*. A renewal is applied after it was sent, so

    time sent of the last acknowledged renewal + ttl - margin

lies before that instant, whatever the network did to the request and to the answer, as long
as the two clocks' rates differ by less than margin / ttl. (C. Gray, D. Cheriton: Leases, 1989.)
"""

from __future__ import annotations

import random
from enum import StrEnum
from math import inf

from . import clock
from .clock import Clock
from .errors import StoreUnavailable
from .timing import LONGEST_TTL, is_seconds, margin_for, request_limit, shown

__all__ = ["Lease", "LostReason"]


class LostReason(StrEnum):
    """Why a term ended without its leader wanting it."""

    EXPIRED = "expired"
    """No renewal was acknowledged in time: a pause, a partition, or the store was away."""
    SESSION_LOST = "session_lost"
    """The store has ended the session."""
    DELETED = "deleted"
    """Somebody deleted or released the claim."""
    OVERWRITTEN = "overwritten"
    """Somebody wrote over the claim."""


class Lease:
    """The deadline of one session; no I/O and no lock in here.

    One thread, the one that renews, calls `acknowledge` and `fail`. Anybody may call the rest
    at any time: once `over` is set it stays set, so a term that one reader has seen to be over
    is over for all, even if an acknowledgement is being processed at that moment.

    Args:
        ttl: seconds that the session was opened with.
        margin: the user's choice of margin in seconds, or None.
        least_margin: the store's least margin in seconds.
        rng: for the jitter of renewals.
        now: the clock.

    Attributes:
        ttl: seconds, the shorter of what was asked for and what the store grants.
        granted: seconds, what the store grants; it may keep the session for so long.
    """

    __slots__ = (
        "_asked",
        "_clock",
        "_least",
        "_margin",
        "_rng",
        "deadline",
        "granted",
        "over",
        "renew_at",
        "ttl",
    )

    def __init__(
        self,
        ttl: float,
        *,
        margin: float | None = None,
        least_margin: float = 0.0,
        rng: random.Random | None = None,
        now: Clock = clock.now,
    ) -> None:
        margin_for(ttl, margin, least_margin)
        self._margin = margin
        self._least = least_margin
        self._rng = rng or random.Random()
        self._clock = now
        self._asked = self.ttl = self.granted = ttl
        self.deadline = -inf
        self.renew_at = -inf
        self.over: LostReason | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the server has acknowledged a renewal at all."""
        return self.deadline != -inf

    def holds(self) -> bool:
        """Whether the lease stands at this very moment."""
        if self.over is not None:
            return False
        if self._clock() < self.deadline:
            return True
        if self.deadline != -inf:
            self.over = LostReason.EXPIRED
        return False

    def remaining(self) -> float:
        """Seconds until the deadline; 0.0 once it is over."""
        return max(0.0, self.deadline - self._clock()) if self.holds() else 0.0

    def acknowledge(self, sent: float, ttl: float) -> bool:
        """Move the deadline after the server acknowledged a renewal.

        Args:
            sent: the clock's time before the request was sent, never that of the answer.
            ttl: the ttl in force from then on, as the server says; if it is longer than what was
                asked for, what was asked for counts.

        Returns:
            False if it came too late: what has expired is not revived.

        Raises:
            StoreUnavailable: that is no ttl, so it acknowledges nothing.
            ConfigurationError: the store's margin does not fit it.
        """
        if self.deadline != -inf and not self.holds():
            return False
        if not is_seconds(ttl) or ttl <= 0:
            raise StoreUnavailable(f"the store says that the ttl is {shown(ttl)}, which is none")
        # The store ends the session no earlier than what it grants. To believe for less is always
        # sound, and to believe for more than was asked for would rest on the server alone.
        self.granted = min(ttl, LONGEST_TTL)
        ttl = min(ttl, self._asked)
        if ttl != self.ttl and self._margin is not None:
            self._margin = min(self._margin, ttl / 3)
        self.ttl = ttl
        # A shorter grant moves the deadline back, too: the server counts from here.
        self.deadline = sent + ttl - margin_for(ttl, self._margin, self._least)
        self.renew_at = sent + ttl / 3 * self._rng.uniform(0.8, 1.0)
        return self.holds()

    def fail(self) -> None:
        """Plan the next try after a renewal that got no answer: the sooner the less is left."""
        left = self.remaining() if self.acknowledged else inf
        least = max(0.02, min(0.1, self.ttl / 20))  # it may turn away every try
        self.renew_at = self._clock() + max(least, min(1.0, self.ttl / 10, left / 4))

    def end(self, reason: LostReason) -> None:
        """The session is over for this reason, unless it was over before."""
        if self.holds() or self.over is None:
            self.over = reason

    def end_in_child(self) -> None:
        """The session is the parent process's."""
        self.over = LostReason.EXPIRED

    @property
    def longest(self) -> float:
        """Seconds that are left right after a renewal, at the most."""
        return self.ttl - margin_for(self.ttl, self._margin, self._least)

    def request_limit(self) -> float:
        """Seconds that a request under this lease may take."""
        return request_limit(self.ttl, None if self.deadline == -inf else self.remaining())
