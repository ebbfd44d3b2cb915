"""Leases, their margins and backoffs, on a clock that the test moves."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, strategies as st

from leadership_core.engine.lease import Lease
from leadership_core.engine.timing import safety_margin
from leadership_core.errors import ConfigurationError, StoreUnavailable
from leadership_core.term import LostReason
from tests.unit.manual_clock import ManualClock
from tests.unit.odd_numbers import name_of


def test_lease_is_not_valid_before_the_first_acknowledgement(lease: Lease) -> None:
    """Opening a session alone proves nothing; the lease has not ended either."""
    assert not lease.is_valid(1000.0)
    assert not lease.acknowledged
    assert lease.check() is None
    assert lease.remaining() == 0.0


def test_deadline_counts_from_the_time_of_sending(lease: Lease, clock: ManualClock) -> None:
    """The answer took 3 s, which do not count."""
    clock.time = 1003.0

    assert lease.acknowledge(1000.0, 10.0)
    assert lease.deadline == 1009.0
    assert lease.remaining() == 6.0
    clock.time = 1008.999
    assert lease.check() is None
    clock.time = 1009.0
    assert lease.check() is not None


def test_acknowledgement_after_the_deadline_does_not_revive_the_lease(
    lease: Lease, clock: ManualClock
) -> None:
    """Even if no reader has checked the lease since."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1009.5

    assert not lease.acknowledge(1008.0, 10.0)
    assert lease.check() is not None
    assert lease.ended_reason is LostReason.EXPIRED


def test_remaining_is_zero_only_after_the_end(lease: Lease) -> None:
    """The deadline passes between two reads of the clock."""
    lease.acknowledge(1000.0, 10.0)
    times = iter([1008.9, 1009.1, 1009.1, 1009.1])
    passing = Lease(10.0, now=lambda: next(times))
    passing.deadline = 1009.0

    assert passing.remaining() == 0.0
    assert passing.ended_reason is LostReason.EXPIRED


def test_is_valid_only_reads(lease: Lease) -> None:
    """A time after the deadline ends nothing: only `check` and `end` do."""
    lease.acknowledge(1000.0, 10.0)

    assert not lease.is_valid(1009.0)
    assert lease.ended_reason is None
    assert lease.is_valid(1008.9)


def test_first_acknowledgement_that_is_too_late_ends_the_lease(
    lease: Lease, clock: ManualClock
) -> None:
    """The process was stopped between the request and its answer."""
    clock.time = 1010.0

    assert not lease.acknowledge(1000.0, 10.0)
    assert lease.ended_reason is LostReason.EXPIRED


def test_lease_stays_ended_when_the_clock_goes_back(lease: Lease, clock: ManualClock) -> None:
    """Once one reader has found its end, it has ended for all readers."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1009.0
    assert lease.check() is not None

    clock.time = 1001.0

    assert lease.check() is not None
    assert not lease.acknowledge(1001.0, 10.0)


def test_shorter_grant_moves_the_deadline_back(lease: Lease, clock: ManualClock) -> None:
    """The server counts the shorter ttl from this renewal."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1001.0

    assert lease.acknowledge(1001.0, 4.0)
    assert lease.effective_ttl == 4.0
    assert lease.deadline == pytest.approx(1001.0 + 4.0 - 0.5)


def test_margin_shrinks_with_the_granted_ttl(clock: ManualClock) -> None:
    """It was checked against the requested ttl."""
    lease = Lease(10.0, margin=3.0, now=clock)

    assert lease.acknowledge(1000.0, 3.0)
    assert lease.deadline == pytest.approx(1002.0)


def test_grant_too_short_for_the_least_margin_is_rejected(clock: ManualClock) -> None:
    """The margin would be more than a third of the ttl."""
    lease = Lease(10.0, least_margin=2.0, now=clock)

    with pytest.raises(ConfigurationError, match="at least 6 s"):
        lease.acknowledge(1000.0, 3.0)


@pytest.mark.parametrize(
    "ttl", [0.0, -1.0, nan, inf, -inf, True, None, "10", 10**400, -(10**5000)], ids=name_of
)
def test_invalid_granted_ttl_acknowledges_nothing(
    lease: Lease, clock: ManualClock, ttl: float
) -> None:
    """The server, or the plugin, reports a ttl that is no positive number."""
    with pytest.raises(StoreUnavailable, match="ttl"):
        lease.acknowledge(1000.0, ttl)
    assert not lease.acknowledged
    assert lease.acknowledge(1000.0, 10.0)
    clock.time = 1004.0
    with pytest.raises(StoreUnavailable, match="ttl"):
        lease.acknowledge(1004.0, ttl)

    assert lease.deadline == 1009.0


@pytest.mark.parametrize("granted", [10.5, 86_400.0, 1e18, 1e300])
def test_granted_ttl_above_the_requested_one_is_capped(lease: Lease, granted: float) -> None:
    """A longer grant rests on one answer; `granted_ttl` says how long the store may keep the session."""
    lease.acknowledge(1000.0, granted)

    assert lease.effective_ttl == 10.0
    assert lease.deadline == 1009.0
    assert lease.renew_at <= 1000.0 + 10 / 3
    assert lease.granted_ttl == min(granted, 86_400.0)


def test_granted_ttl_that_grows_again_is_capped_by_the_requested_one(lease: Lease) -> None:
    """The requested ttl stays the limit, whatever was granted in between."""
    lease.acknowledge(1000.0, 4.0)
    lease.acknowledge(1001.0, 20.0)

    assert lease.effective_ttl == 10.0
    assert lease.deadline == 1010.0


def test_end_after_expiry_keeps_the_first_reason(lease: Lease, clock: ManualClock) -> None:
    """A lease that has expired cannot be lost again."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1010.0
    lease.end(LostReason.SESSION_LOST)

    assert lease.ended_reason is LostReason.EXPIRED


def test_end_before_the_deadline_takes_effect_at_once(lease: Lease) -> None:
    """The session was lost long before the deadline."""
    lease.acknowledge(1000.0, 10.0)
    lease.end(LostReason.SESSION_LOST)

    assert lease.check() is not None
    assert lease.ended_reason is LostReason.SESSION_LOST


def test_renewals_are_retried_faster_the_less_time_is_left(
    lease: Lease, clock: ManualClock
) -> None:
    """The interval has a lower bound, so there is no hot loop."""
    lease.acknowledge(1000.0, 10.0)
    assert 1002.6 < lease.renew_at <= 1003.4
    waits = []
    while lease.check() is None:
        lease.schedule_retry()
        waits.append(lease.renew_at - clock.time)
        clock.time = lease.renew_at

    assert waits[0] == 1.0
    assert waits == sorted(waits, reverse=True)
    assert min(waits) > 0.0199
    assert len(waits) < 40


def test_renewals_of_a_short_lease_are_retried_a_few_times(clock: ManualClock) -> None:
    """A store that rejects every try gets fewer than ten within a ttl of 2 s."""
    lease = Lease(2.0, now=clock)
    lease.acknowledge(clock.time, 2.0)
    clock.time = lease.renew_at
    tries = 0
    while lease.check() is None:
        tries += 1
        lease.schedule_retry()
        clock.time = lease.renew_at

    assert tries < 10


def test_failing_first_renewals_are_retried_slowly(lease: Lease, clock: ManualClock) -> None:
    """No time remains before the first acknowledgement, which is no reason to hurry."""
    lease.schedule_retry()

    assert lease.renew_at - clock.time == 1.0


def test_request_limit_is_half_of_the_remaining_time_at_most(
    lease: Lease, clock: ManualClock
) -> None:
    """It is also at most a third of the ttl."""
    assert lease.request_limit() == pytest.approx(10 / 3)
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1005.0
    assert lease.request_limit() == 2.0
    clock.time = 1020.0
    assert lease.request_limit() == 0.0


def test_max_validity_is_the_ttl_less_the_margin(clock: ManualClock) -> None:
    """The margin is that of this lease, not the default."""
    assert Lease(9.0, margin=3.0, now=clock).max_validity == 6.0
    assert Lease(9.0, margin=0.1, now=clock).max_validity == pytest.approx(8.9)
    assert Lease(9.0, least_margin=2.0, now=clock).max_validity == 7.0


@given(
    st.floats(0.01, 1e5),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 1)), max_size=30),
)
def test_lease_is_never_valid_beyond_the_last_acknowledged_renewal(
    ttl: float, steps: list[tuple[float, float]]
) -> None:
    """Sending, answering and pausing may come in any order."""
    clock = ManualClock()
    lease = Lease(ttl, now=clock)
    last = -inf
    for pause, took in steps:
        sent = clock.time
        clock.time += pause * took * ttl / 10
        alive = lease.ended_reason is None and (
            last == -inf or clock.time < last + ttl - safety_margin(ttl)
        )
        if lease.acknowledge(sent, ttl):
            assert alive
            last = sent
        clock.time += pause * (1 - took) * ttl / 10
        alive = lease.check() is None and last > -inf
        assert alive == (
            lease.ended_reason is None
            and last > -inf
            and clock.time < last + ttl - safety_margin(ttl)
        )
