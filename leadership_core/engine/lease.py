"""The validity of one session's lease: how long its holder may act as leader.

It rests on one promise of the store: a session ends no earlier than its ttl after the renewal
was *applied*. A renewal is applied after it was sent, so

    time sent of the last acknowledged renewal + ttl - margin

lies before that instant, whatever the network did to the request and to the answer, as long
as the two clocks' rates differ by less than margin / ttl. (C. Gray, D. Cheriton: Leases, 1989.)

A deadline that has passed is final, for all readers. `acknowledge` reads the clock, and writes the
new deadline some time later; the thread may be held up in between, and a reader may find that the
old deadline has passed. No test that `acknowledge` makes before it writes can rule this out, because
the delay may come after the test. So a reader that only read could answer "over", and a later one,
by the new deadline, "valid". Therefore every reader of a term calls `check`, which

1. returns the recorded reason, if there is one;
2. else returns None if the clock shows less than the deadline;
3. else records a reason, and then returns what is recorded.

The first reason is kept (`dict.setdefault`, one operation that the interpreter does not divide), and
`ended_reason` is never set to anything else. A call that has returned a reason has found or set it, so
each call that begins afterwards returns the same one in step 1, whatever deadline was written meanwhile.
`acknowledge` calls `check` after it has written, and reports an acknowledgement that was overtaken by a
reader as too late. A None is sound in any case: the clock was read before the deadline that it was
compared with, and that deadline rests on a renewal that the store has acknowledged.
"""

from __future__ import annotations

import random
from math import inf

from leadership_core.term import LostReason

from ..backend import clock
from ..backend.clock import Clock
from ..backend.validation import LONGEST_TTL, is_finite_number, safe_repr
from ..errors import StoreUnavailable
from .timing import request_limit, safety_margin

__all__ = ["Lease"]


class Lease:
    """The deadline of one session, without I/O and without a lock.

    One thread, the one that renews, calls `acknowledge` and `schedule_retry`; any thread, and a
    signal handler, may call the rest at any time.

    Args:
        requested_ttl: seconds, what the session was opened with.
        margin: the user's choice of margin in seconds, or None.
        least_margin: the store's least margin in seconds.
        rng: for the jitter of renewals.
        now: the clock.

    Raises:
        ConfigurationError: no such margin fits the ttl.

    Attributes:
        requested_ttl: seconds, as given.
        granted_ttl: seconds, what the store grants; it may keep the session for so long.
        effective_ttl: seconds, the shorter of the two.
        deadline: the time of the clock up to which the lease is valid; -inf before the first
            acknowledged renewal.
        renew_at: the time of the clock at which the next renewal is due.
        ended_reason: why the lease is over, once `check` or `end` has recorded it; it never
            changes then. None says nothing: the deadline may have passed.
    """

    __slots__ = (
        "_clock",
        "_first_reason",
        "_least",
        "_margin",
        "_rng",
        "deadline",
        "effective_ttl",
        "ended_reason",
        "granted_ttl",
        "renew_at",
        "requested_ttl",
    )

    def __init__(
        self,
        requested_ttl: float,
        *,
        margin: float | None = None,
        least_margin: float = 0.0,
        rng: random.Random | None = None,
        now: Clock = clock.now,
    ) -> None:
        safety_margin(requested_ttl, margin, least_margin)
        self._margin = margin
        self._least = least_margin
        self._rng = rng or random.Random()
        self._clock = now
        self.requested_ttl: float = requested_ttl
        self.granted_ttl: float = requested_ttl
        self.effective_ttl: float = requested_ttl
        self.deadline: float = -inf
        self.renew_at: float = -inf
        self.ended_reason: LostReason | None = None
        self._first_reason: dict[str, LostReason] = {}  # decides what `ended_reason` is set to

    @property
    def acknowledged(self) -> bool:
        """Whether the server has acknowledged a renewal at all."""
        return self.deadline != -inf

    def is_valid(self, now: float) -> bool:
        """Whether the lease was not over at the time `now` of the clock; only reads.

        Not final: a False by the clock alone may be followed by a True while an acknowledgement is
        being processed. It is for callers that keep their own conclusion, as the state machine does.
        """
        return self.ended_reason is None and now < self.deadline

    def check(self) -> LostReason | None:
        """Why the lease is over at this moment; None while it is not, and before it has begun.

        Final: after one reason, every later call returns that reason.
        """
        if self.ended_reason is None:
            if self._clock() < self.deadline:
                return None
            now = self._clock()  # once more: the first acknowledgement may have come in between
            deadline = self.deadline
            if now < deadline or deadline == -inf:
                return None
            self._record(LostReason.EXPIRED)
        return self.ended_reason

    def end(self, reason: LostReason) -> None:
        """End the lease now, for this reason; nothing if it is over already."""
        if self.check() is None:
            self._record(reason)

    def _record(self, reason: LostReason) -> None:
        self.ended_reason = self._first_reason.setdefault("", reason)

    def remaining(self) -> float:
        """Seconds until the deadline; 0.0 once the lease is over, and before it has begun."""
        while self.check() is None and self.acknowledged:
            left = self.deadline - self._clock()
            if left > 0:
                return left  # a 0.0 says that the lease is over, so it has to be recorded
        return 0.0

    def acknowledge(self, sent: float, ttl: float) -> bool:
        """Move the deadline after the server acknowledged a renewal.

        Args:
            sent: the clock's time before the request was sent, never that of the answer.
            ttl: the granted ttl in seconds, in force from then on, as the server reports it; if it is
                longer than the requested one, the requested one counts.

        Returns:
            False if it came too late: a lease that is over is not revived.

        Raises:
            StoreUnavailable: the ttl is no positive number, so this acknowledges nothing.
            ConfigurationError: the store's margin does not fit the ttl.
        """
        if self.check() is not None:
            return False
        if not is_finite_number(ttl) or ttl <= 0:
            raise StoreUnavailable(f"the store granted an invalid ttl: {safe_repr(ttl)}")
        # The store ends the session no earlier than what it grants. To lead for less is always
        # sound; to lead for more than was requested would rest on one answer of one server.
        self.granted_ttl = min(ttl, LONGEST_TTL)
        ttl = min(ttl, self.requested_ttl)
        if ttl != self.effective_ttl and self._margin is not None:
            self._margin = min(self._margin, ttl / 3)
        self.effective_ttl = ttl
        # A shorter grant moves the deadline back, too: the server counts from here.
        self.deadline = sent + ttl - safety_margin(ttl, self._margin, self._least)
        self.renew_at = sent + ttl / 3 * self._rng.uniform(0.8, 1.0)
        return self.check() is None

    def schedule_retry(self) -> None:
        """Set `renew_at` after a renewal that got no answer: the sooner, the less time is left."""
        left = self.remaining() if self.acknowledged else inf
        least = max(0.02, min(0.1, self.effective_ttl / 20))  # the store may reject every try
        self.renew_at = self._clock() + max(least, min(1.0, self.effective_ttl / 10, left / 4))

    @property
    def max_validity(self) -> float:
        """Seconds that are left right after a renewal, at the most."""
        return self.effective_ttl - safety_margin(self.effective_ttl, self._margin, self._least)

    def request_limit(self) -> float:
        """Seconds that a request under this lease may take."""
        return request_limit(self.effective_ttl, self.remaining() if self.acknowledged else None)
