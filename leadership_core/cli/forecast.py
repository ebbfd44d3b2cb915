"""What follows from a ttl, in seconds, computed with the very lease that leaders hold."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..lease import Lease

__all__ = ["Forecast", "forecast"]

_RESIGN_REQUESTS = 5  # withdraw, a notification, look, enter, look


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long things take, in seconds.

    Attributes:
        ttl_asked: what the user wanted.
        ttl_granted: what the store gave.
        margin: before the end of the ttl a leader stops believing.
        request: what one request takes.
        renewal_earliest, renewal_latest: from one renewal to the next.
        belief: from sending the last acknowledged renewal to the end of belief.
        outage_sure: an outage that never costs the leadership, whenever it begins.
        outage_best: the longest that may pass, if it begins right after a renewal.
        crash_earliest, crash_latest: from a leader's death to the end of its claim.
        resign: from a resignation to the next leader, about.
        partition_belief: from a leader's cut-off to the end of its belief, at the latest.
        partition_others: from a leader's cut-off to the end of its claim, at the latest.
    """

    ttl_asked: float
    ttl_granted: float
    margin: float
    request: float
    renewal_earliest: float
    renewal_latest: float
    belief: float
    outage_sure: float
    outage_best: float
    crash_earliest: float
    crash_latest: float
    resign: float
    partition_belief: float
    partition_others: float


def forecast(
    asked: float,
    granted: float,
    *,
    margin: float | None,
    least_margin: float,
    expires_within: float,
    request: float,
) -> Forecast:
    """Work it out.

    Args:
        asked: the ttl that the user wants.
        granted: the ttl that the store gives.
        margin: the user's choice, or None.
        least_margin: the store's.
        expires_within: after its last renewal a silent session is gone at the latest.
        request: what a request to the store takes.

    Raises:
        ConfigurationError: the margin does not fit.
    """

    def renewed(jitter: float) -> _Renewed:
        return _Renewed(asked, granted, margin, least_margin, jitter)

    earliest, latest = renewed(0.0).lease.renew_at, renewed(1.0).lease.renew_at
    belief = renewed(1.0).lease.deadline
    # In the worst case the next renewal was just sent, and its answer is what is lost first.
    sure = belief - latest - request - _needed(renewed(1.0), request)
    return Forecast(
        ttl_asked=asked,
        ttl_granted=granted,
        margin=granted - belief,
        request=request,
        renewal_earliest=earliest,
        renewal_latest=latest,
        belief=belief,
        outage_sure=max(0.0, sure),
        outage_best=max(0.0, belief - 2 * request),
        # No store may end a session sooner than a ttl after its last renewal.
        crash_earliest=granted - latest,
        crash_latest=expires_within,
        resign=_RESIGN_REQUESTS * request,
        partition_belief=belief,
        partition_others=expires_within,
    )


class _Renewed:
    """A lease that was renewed at the time 0, on a clock that is moved by hand."""

    def __init__(
        self, asked: float, granted: float, margin: float | None, least: float, jitter: float
    ) -> None:
        self.now = 0.0
        self.lease = Lease(
            asked, margin=margin, least_margin=least, rng=_Fixed(jitter), now=lambda: self.now
        )
        self.lease.acknowledge(0.0, granted)


class _Fixed(random.Random):
    """No chance: always the same place between the least and the most."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self._place = place

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._place


def _needed(renewed: _Renewed, request: float) -> float:
    """What must be left of a lease at the end of an outage for a renewal to come in time."""
    enough, little = renewed.lease.deadline, 0.0
    for _ in range(40):
        middle = (enough + little) / 2
        if _rescued(renewed, middle, request):
            enough = middle
        else:
            little = middle
    return enough


def _rescued(renewed: _Renewed, left: float, request: float) -> bool:
    """Whether a renewal succeeds if the outage ends with so much left of the lease.

    In the worst case the latest try has just been sent into the void, and it is given up only
    at its limit.
    """
    lease = renewed.lease
    renewed.now = lease.deadline - left
    renewed.now += lease.request_limit()
    lease.fail()
    renewed.now = lease.renew_at
    return renewed.now < lease.deadline and lease.request_limit() >= request
