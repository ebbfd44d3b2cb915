"""Backoff of campaigns: how long a candidate waits between two tries, and between two campaigns."""

from __future__ import annotations

import random

from ..events import Lost, LostReason, Resigned
from .backoff import Backoff, max_backoff

__all__ = ["CampaignBackoff"]


class CampaignBackoff:
    """The waits of one candidate; has no clock of its own.

    Args:
        ttl: of its sessions, in seconds; bounds the waits.
        rng: for their jitter.

    Attributes:
        tries: within one campaign, when the store gives no answer, or grants nothing.
    """

    __slots__ = ("_cooldown", "_losses", "_rng", "_ttl", "tries")

    def __init__(self, ttl: float, rng: random.Random) -> None:
        self.tries: Backoff = Backoff(max_backoff(ttl), rng, eager=True)
        self._ttl, self._rng = ttl, rng
        self._losses: Backoff | None = None  # from the first loss on
        self._cooldown: float | None = None

    def end_term(self, event: Lost | Resigned, lasted: float, cooldown: float | None) -> None:
        """Note the end of a term.

        Args:
            event: what has ended it.
            lasted: seconds since its beginning.
            cooldown: seconds that the user wants to wait, or None.
        """
        self._cooldown = cooldown
        # A term that has lasted was no failure, unless its work hung: that may well happen again.
        if lasted > self._ttl and event != Lost(LostReason.WATCHDOG):
            self._losses = None

    def next_campaign(self) -> float:
        """Seconds to wait before the next campaign."""
        cooldown, self._cooldown = self._cooldown, None
        if cooldown is None:
            if self._losses is None:
                self._losses = Backoff(max_backoff(self._ttl), self._rng)
            return self._losses.next()
        self._losses = None
        return cooldown
