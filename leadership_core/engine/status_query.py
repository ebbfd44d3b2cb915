"""The status query of one claim: when it is sent, repeated, and retried.

At most one query is in flight. It is repeated if the claim may have changed meanwhile, so no change
is missed, and its rate is limited, so that a watch that wakes without end costs no more than that.
"""

from __future__ import annotations

import random
from math import inf

from ..backend.rate_limit import RateLimiter
from .backoff import Backoff, max_backoff

__all__ = ["StatusQuery"]


class StatusQuery:
    """Belongs to a state machine; has no clock of its own, so all times are arguments.

    Args:
        ttl: of the session, in seconds; bounds the waits.
        rng: for their jitter.

    Attributes:
        in_flight: whether an answer is awaited.
        due: when the next query is to be sent, whatever happens.
    """

    __slots__ = (
        "_first",
        "_repeat",
        "_rng",
        "_ttl",
        "_unchanged",
        "_unwatched",
        "due",
        "in_flight",
    )

    def __init__(self, ttl: float, rng: random.Random) -> None:
        self.in_flight: bool = False
        self.due: float = inf
        self._repeat = False
        self._ttl, self._rng = ttl, rng
        # Both are made when they are needed, since most claims need none of them.
        self._first = True  # no answer was that nothing had changed
        self._unchanged: RateLimiter | None = None  # of the later ones
        self._unwatched: Backoff | None = None  # of answers whose end the watch may miss

    def begin(self, now: float) -> bool:
        """Note that the claim may have changed; True if a query is to be sent now."""
        if self.in_flight:
            self._repeat = True
            return False
        wait = self._delay(now)
        if wait:
            self.due = min(self.due, now + wait)
            return False
        self.in_flight, self._repeat, self.due = True, False, inf
        return True

    def may_be_early(self, now: float) -> bool:
        """Whether a report of the watch would send a query at once: none is in flight or waits."""
        return not self.in_flight and self.due == inf and not self._delay(now)

    def _delay(self, now: float) -> float:
        return 0.0 if self._unchanged is None else self._unchanged.delay(now=now)

    def finish(self) -> bool:
        """Note the answer; True if the claim may have changed since the query was sent."""
        self.in_flight = False
        return self._repeat

    def note_unchanged(self, now: float) -> None:
        """Count an answer that brought nothing new against the rate, except for the first one of a term."""
        if self._first:
            self._first = False  # what it is in each term: the watch of the new claim is there
            return
        if self._unchanged is None:
            self._unchanged = RateLimiter()
        self._unchanged.consume(now=now)

    def note_elected(self) -> None:
        """Forget the rate: a term begins."""
        self._first, self._unchanged = True, None

    def rely_on(self, now: float, *, watched: bool) -> None:
        """Wait for the watch, or query again soon if the watch may miss the end of this answer."""
        if watched:
            self._unwatched = None
        else:
            if self._unwatched is None:
                self._unwatched = Backoff(max_backoff(self._ttl), self._rng)
            self.retry_at(now + self._unwatched.next())

    def retry_at(self, when: float) -> None:
        """Note that there is no answer to rely on: query again at that time."""
        self.in_flight, self.due = False, when

    def cancel(self) -> None:
        """Forget the query; its answer is stale."""
        self.in_flight, self._repeat, self.due = False, False, inf
