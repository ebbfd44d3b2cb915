"""Retry backoff: exponential, with jitter, and bounded by the ttl."""

from __future__ import annotations

import random

__all__ = ["Backoff", "max_backoff"]


class Backoff:
    """Exponential backoff with full jitter, so that the tries of many candidates spread out.

    Args:
        cap: seconds, the longest wait.
        rng: for the jitter.
        first: seconds, the longest first wait.
        eager: whether there is no wait before the first try.
    """

    __slots__ = ("_cap", "_eager", "_first", "_rng", "_tries")

    def __init__(
        self, cap: float, rng: random.Random, *, first: float = 0.1, eager: bool = False
    ) -> None:
        self._cap, self._rng, self._first, self._eager = cap, rng, first, eager
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        tries, self._tries = self._tries, self._tries + 1
        if self._eager:
            if tries == 0:
                return 0.0
            tries -= 1
        return self._rng.uniform(0.0, min(self._cap, self._first * 2.0 ** min(tries, 30)))

    def reset(self) -> None:
        """Begin with the first wait again, because a try has succeeded."""
        self._tries = 0


def max_backoff(ttl: float) -> float:
    """Seconds, the longest wait between two tries."""
    return min(5.0, ttl / 2)
