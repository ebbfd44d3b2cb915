"""Times that follow from a ttl: margin, request limit, and the wait for a first answer.

All in seconds. No clock is read here.
"""

from __future__ import annotations

from leadership_core.backend.validation import is_finite_number, safe_repr

from ..errors import ConfigurationError

__all__ = ["first_answer_within", "request_limit", "safety_margin"]


def safety_margin(ttl: float, wanted: float | None = None, least: float = 0.0) -> float:
    """Seconds before the end of the ttl at which a leader's term ends.

    The margin covers clocks whose rates differ, the time to stop working, and the delay of the
    store's own bookkeeping.

    Args:
        ttl: seconds, as granted by the server.
        wanted: seconds, the user's choice; 10 % of the ttl but at least 0.5 s if there is none.
        least: seconds, the store's least margin, whatever the user wants.

    Raises:
        ConfigurationError: it would be more than a third of the ttl.
    """
    most = ttl / 3
    if wanted is not None and not is_finite_number(wanted):
        raise ConfigurationError(f"the margin must be a number of seconds, not {safe_repr(wanted)}")
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
    """Seconds that one request may take: a third of the ttl, and half of what remains of a lease."""
    return ttl / 3 if remaining is None else min(ttl / 3, max(remaining, 0.0) / 2)


def first_answer_within(ttl: float, timeout: float) -> float:
    """Seconds that a wait of `timeout` may take at most until the store has answered once.

    With a timeout of 0 that is the limit of one request. Other timeouts are as given, but never so
    short that a free key could not be taken: that takes a few round trips.
    """
    return max(timeout, ttl / 3 if timeout == 0 else min(1.0, ttl / 3))
