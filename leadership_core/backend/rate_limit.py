"""Rate limiter: a burst at once, then a steady rate."""

from __future__ import annotations

import threading

from . import clock

__all__ = ["RateLimiter"]

_MOST_DEBT = 0.5  # of a burst
_ROUNDING = 1e-6  # seconds; a shorter delay may vanish where it is added to the time


class RateLimiter:
    """Counts requests, and says how long the next one has to wait; it never blocks itself.

    The caller counts each request with `consume`, and waits for `delay()` before the next one. What
    is consumed too early is a debt, of half a burst at most: a phase of too many requests slows
    down the requests after it, but not for longer than it lasted. Thread-safe, and safe for signal
    handlers.

    Args:
        burst: requests that may be made at once after a pause, for each member.
        rate: requests a second after that, for each member.

    Example:
        >>> limiter = RateLimiter(burst=2, rate=10.0)
        >>> [limiter.delay(now=0.0), limiter.consume(now=0.0), limiter.consume(now=0.0)]
        [0.0, 0.0, 0.1]
    """

    __slots__ = ("_at", "_burst", "_consumed", "_lock", "_members", "_rate", "_reserved")

    def __init__(self, burst: float = 20.0, rate: float = 20.0) -> None:
        self._burst, self._rate = burst, rate
        self._lock = threading.RLock()  # methods call each other; so may a signal handler
        self._members = 0
        self._consumed = 0.0  # drains at the rate; negative while a credit is left
        self._reserved = 0.0
        self._at: float | None = None  # when these two were computed last

    def consume(self, requests: float = 1.0, *, now: float | None = None) -> float:
        """Count requests that are made now; returns the seconds until the next may follow."""
        with self._lock:
            self._advance(now)
            most = (1 + _MOST_DEBT) * self._burst * self._scale
            self._consumed = min(self._consumed + requests, most)
            return self._delay_of(1.0 + self._reserved)

    def delay(self, requests: float = 1.0, *, now: float | None = None) -> float:
        """Seconds until so many requests may be made at once; 0.0 if they may be made now."""
        with self._lock:
            self._advance(now)
            return self._delay_of(requests + self._reserved)

    def reserve(self, requests: float, *, now: float | None = None) -> float:
        """Seconds until so many requests may be made at once; 0.0 if they may be made now.

        If they have to wait, the next `delay` leaves room for them, so that other requests cannot
        postpone them forever. The reservation ends with the next `reserve` that need not wait.
        """
        with self._lock:
            self._advance(now)
            seconds = self._delay_of(requests)
            self._reserved = requests if seconds > 0 else 0.0
            return seconds

    def pay(self, requests: float, *, now: float | None = None) -> None:
        """Give back that much of what was consumed; it makes no credit for later requests."""
        with self._lock:
            self._advance(now)
            self._consumed = max(self._consumed - requests, min(self._consumed, 0.0))

    def reset(self, credit: float = 0.0) -> None:
        """Forget all that was consumed; `credit` requests more than a burst may follow at once."""
        with self._lock:
            self._consumed, self._reserved = -credit, 0.0

    def add_member(self) -> None:
        """Allow one share more: all limits are for each member (and one share without any)."""
        with self._lock:
            self._advance(None)
            self._members += 1

    def remove_member(self) -> None:
        """Allow one share less."""
        with self._lock:
            self._advance(None)
            self._members -= 1

    @property
    def _scale(self) -> int:
        return max(1, self._members)

    def _advance(self, now: float | None) -> None:
        """Drain what the time since the last call allows."""
        if now is None:
            now = clock.now()
        passed = 0.0 if self._at is None else max(0.0, now - self._at) * self._scale
        self._at = now
        drained = self._consumed - passed * self._rate
        self._consumed = max(min(self._consumed, 0.0), drained)  # a pause makes no credit

    def _delay_of(self, requests: float) -> float:
        over = self._consumed + requests - self._burst * self._scale
        seconds = over / (self._rate * self._scale)
        return seconds if seconds > _ROUNDING else 0.0
