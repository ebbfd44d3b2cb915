"""Estimate of what follows from a ttl, in seconds, computed with the lease that leaders hold."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..engine.lease import Lease

__all__ = ["TimingEstimate", "estimate_timing"]

_RESIGN_REQUESTS = 5  # withdraw, a notification, read, enter, read


@dataclass(frozen=True, slots=True)
class TimingEstimate:
    """How long things take, in seconds.

    Attributes:
        requested_ttl: the ttl that the user asked for.
        granted_ttl: the ttl that the store granted.
        margin: time before the end of the lease at which a leader stops leading.
        request: duration of one request.
        renewal_earliest: from one renewal to the next, at least.
        renewal_latest: from one renewal to the next, at most.
        leads_until: from sending the last acknowledged renewal until the leader stops leading.
        outage_tolerated: longest outage that never costs the leadership, whenever it begins.
        outage_tolerated_at_best: longest outage tolerated if it begins right after a renewal.
        crash_earliest: from a leader's crash to the end of its claim, at least.
        crash_latest: from a leader's crash to the end of its claim, at most.
        resign: from a resignation to the next leader, about.
        partition_leads_until: from a leader's cut-off until it stops leading, at most.
        partition_next_leader: from a leader's cut-off to the end of its claim, at most.
    """

    requested_ttl: float
    granted_ttl: float
    margin: float
    request: float
    renewal_earliest: float
    renewal_latest: float
    leads_until: float
    outage_tolerated: float
    outage_tolerated_at_best: float
    crash_earliest: float
    crash_latest: float
    resign: float
    partition_leads_until: float
    partition_next_leader: float


def estimate_timing(
    requested_ttl: float,
    granted_ttl: float,
    *,
    margin: float | None,
    least_margin: float,
    expires_within: float,
    request: float,
) -> TimingEstimate:
    """Compute the estimate; all times are in seconds.

    Args:
        requested_ttl: the ttl that the user asks for.
        granted_ttl: the ttl that the store grants.
        margin: the user's margin, or None for the default.
        least_margin: the least margin that the store needs.
        expires_within: time after its last renewal within which a silent session ends.
        request: duration of a request to the store.

    Raises:
        ConfigurationError: the margin does not fit the ttl.
    """

    def renewed(jitter: float) -> _RenewedLease:
        return _RenewedLease(requested_ttl, granted_ttl, margin, least_margin, jitter)

    earliest, latest = renewed(0.0).lease.renew_at, renewed(1.0).lease.renew_at
    leads_until = renewed(1.0).lease.deadline
    # In the worst case the next renewal has just been sent, and its answer is the first to be lost.
    tolerated = leads_until - latest - request - renewed(1.0).least_rest(request)
    return TimingEstimate(
        requested_ttl=requested_ttl,
        granted_ttl=granted_ttl,
        margin=granted_ttl - leads_until,
        request=request,
        renewal_earliest=earliest,
        renewal_latest=latest,
        leads_until=leads_until,
        outage_tolerated=max(0.0, tolerated),
        outage_tolerated_at_best=max(0.0, leads_until - 2 * request),
        # No store may end a session earlier than a ttl after its last renewal.
        crash_earliest=granted_ttl - latest,
        crash_latest=expires_within,
        resign=_RESIGN_REQUESTS * request,
        partition_leads_until=leads_until,
        partition_next_leader=expires_within,
    )


class _RenewedLease:
    """A lease that was renewed at the time 0, on a clock that is moved by hand."""

    def __init__(
        self,
        requested_ttl: float,
        granted_ttl: float,
        margin: float | None,
        least_margin: float,
        jitter: float,
    ) -> None:
        self._now = 0.0
        self.lease = Lease(
            requested_ttl,
            margin=margin,
            least_margin=least_margin,
            rng=_FixedRandom(jitter),
            now=lambda: self._now,
        )
        self.lease.acknowledge(0.0, granted_ttl)

    def least_rest(self, request: float) -> float:
        """Return what must be left of the lease after an outage for a renewal to come in time."""
        lease = self.lease
        enough, too_little = lease.deadline, 0.0
        for _ in range(40):
            middle = (enough + too_little) / 2
            # In the worst case the last attempt of the outage has just been sent, and is given up
            # only at its time limit.
            self._now = lease.deadline - middle
            self._now += lease.request_limit()
            lease.schedule_retry()
            self._now = lease.renew_at
            if self._now < lease.deadline and lease.request_limit() >= request:
                enough = middle
            else:
                too_little = middle
        return enough


class _FixedRandom(random.Random):
    """Not random: always the same place between the least and the largest value."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self._place = place

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._place
