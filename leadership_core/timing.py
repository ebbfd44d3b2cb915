"""The times that follow from a ttl: margin, renewals, requests, retries.

All in seconds. No clock is read here.
"""

from __future__ import annotations

import math
import random
import sys
import threading

from .errors import ConfigurationError

__all__ = [
    "LONGEST_TTL",
    "LONGEST_WAIT",
    "Backoff",
    "Pace",
    "check_cooldown",
    "check_timeout",
    "check_ttl",
    "first_answer_within",
    "is_seconds",
    "margin_for",
    "request_limit",
    "retry_cap",
    "shown",
]


_SHORTEST_TTL = 0.1
LONGEST_WAIT = threading.TIMEOUT_MAX / 2
"""Seconds, a hundred years and more: no thread can wait much longer."""

LONGEST_TTL = 86_400.0
"""Seconds: a day, as on Consul. Nobody asks for more, and nothing that grants more is believed."""


def is_seconds(value: object) -> bool:
    """Whether the value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def shown(value: object) -> str:
    """What a message says of a value that somebody passed, whatever it is."""
    try:
        return f"{value!r:.60}"
    except Exception:  # noqa: BLE001 - as for a number of 5,000 digits
        return f"a {type(value).__name__} that cannot be shown"


def check_timeout(timeout: float | None) -> float | None:
    """Return how long a call may block; the same rule for every `timeout` of this library.

    None stands for no limit, or for what the method names in its place (`stop`: one ttl). 0 means
    not to wait. Every other value is a number of seconds.

    Raises:
        ConfigurationError: it is negative, infinite or not a number.
    """
    if timeout is None:
        return None
    if not is_seconds(timeout) or timeout < 0:
        raise ConfigurationError(
            f"the timeout must be a number of seconds, 0 or more, not {shown(timeout)}; "
            "None sets no limit"
        )
    return min(float(timeout), LONGEST_WAIT)


def check_cooldown(cooldown: float) -> float:
    """Return it; raises `ConfigurationError` if it is no number of seconds, 0 or more."""
    if not is_seconds(cooldown) or cooldown < 0:
        raise ConfigurationError(f"the cooldown is a number of seconds, not {shown(cooldown)}")
    return cooldown


def check_ttl(ttl: float) -> float:
    """Return the ttl as a float; raises `ConfigurationError` if it is none."""
    if not is_seconds(ttl):
        raise ConfigurationError(f"the ttl is a number of seconds, not {shown(ttl)}")
    if ttl <= 0:
        raise ConfigurationError(f"the ttl must be a positive number of seconds, not {shown(ttl)}")
    if ttl < _SHORTEST_TTL:
        raise ConfigurationError(
            f"the ttl must be at least {_SHORTEST_TTL:g} s, not {shown(ttl)}: "
            "no machine is punctual enough for less"
        )
    if ttl > LONGEST_TTL:
        raise ConfigurationError(
            f"the ttl must be at most a day, {LONGEST_TTL:g} s, not {shown(ttl)}: a leader that "
            "has died is not replaced before it is over"
        )
    return float(ttl)


def margin_for(ttl: float, wanted: float | None = None, least: float = 0.0) -> float:
    """How long before the ttl a leader stops believing.

    It covers clocks whose rates differ, the time to stop working, and what the store's own
    bookkeeping may lag behind.

    Args:
        ttl: as granted by the server.
        wanted: the user's choice; 10 % of the ttl but at least 0.5 s if there is none.
        least: what the store needs, whatever the user wants.

    Raises:
        ConfigurationError: it would be more than a third of the ttl.
    """
    most = ttl / 3
    if wanted is not None and not is_seconds(wanted):
        raise ConfigurationError(f"the margin is a number of seconds, not {shown(wanted)}")
    if wanted is not None and not 0 < wanted <= most:
        raise ConfigurationError(
            f"a margin of {wanted:g} s does not fit a ttl of {ttl:g} s: "
            f"it must be more than 0 and at most a third of it, {most:g} s"
        )
    if least > most:
        raise ConfigurationError(
            f"this store needs a margin of {least:g} s, which is more than a third of the "
            f"ttl of {ttl:g} s: use a ttl of at least {3 * least:g} s"
        )
    usual = max(0.1 * ttl, 0.5) if wanted is None else wanted
    return max(least, min(usual, most))


def request_limit(ttl: float, remaining: float | None = None) -> float:
    """How long one request may take: a third of the ttl, and half of what is left of a lease."""
    return ttl / 3 if remaining is None else min(ttl / 3, max(remaining, 0.0) / 2)


def first_answer_within(ttl: float, timeout: float) -> float:
    """Seconds that a wait of `timeout` may take at most until the store has answered once.

    With a timeout of 0 that is the limit of one request. Other timeouts are what the caller says,
    but never so short that a free key could not be taken: that takes a few round trips.
    """
    return max(timeout, ttl / 3 if timeout == 0 else min(1.0, ttl / 3))


def retry_cap(ttl: float) -> float:
    """The longest wait between two tries."""
    return min(5.0, ttl / 2)


class Backoff:
    """Waits between tries, doubling, with full jitter so that many candidates spread out.

    Args:
        cap: the longest wait.
        rng: where the jitter comes from.
        first: the longest first wait, in seconds.
        eager: whether the first try comes without a wait.
    """

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
        """A try has succeeded."""
        self._tries = 0


class Pace:
    """Lets a few things through at once, and after that so many a second.

    Args:
        burst: how many at once.
        rate: how many a second.
    """

    def __init__(self, burst: int = 20, rate: float = 20.0) -> None:
        self._interval = 1 / rate
        self._slack = burst * self._interval
        self._paid_until = -math.inf  # moves on by an interval with each thing

    def spend(self, now: float) -> None:
        """One of them has happened."""
        self._paid_until = max(self._paid_until, now) + self._interval

    def reset(self) -> None:
        """Something else has happened: begin anew."""
        self._paid_until = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the next one may happen; 0.0 if it may now."""
        return max(0.0, self._paid_until - self._slack - now)
