"""When a child is asked to end, and when it is killed."""

from __future__ import annotations

from math import inf

import pytest

from leadership_core.backend import clock
from leadership_core.cli.child_guard import EndSchedule, boot_time
from leadership_core.cli.end_times import end_times, longest_grace
from leadership_core.cli.timing_estimate import estimate_timing

TTLS = [0.5, 1.0, 1.5, 2.0, 5.0, 15.0, 60.0, 600.0]


@pytest.mark.parametrize("ttl", TTLS)
@pytest.mark.parametrize("part", [0.01, 0.1, 1 / 3])
@pytest.mark.parametrize("grace", [0.01, 1.0, 10.0, 1e6])
def test_child_is_asked_after_a_renewal_and_killed_before_the_deadline(
    ttl: float, part: float, grace: float
) -> None:
    """The latest renewal of a healthy leader comes a sixth of the ttl before the child is asked."""
    margin = ttl * part
    timing = estimate_timing(
        ttl, ttl, margin=margin, least_margin=0.0, expires_within=ttl, request=0.0
    )
    times = end_times(timing.leads_until, ttl, ttl - margin, grace)

    assert timing.renewal_latest + ttl / 6 <= times.terminate_at + 1e-9
    assert times.terminate_at < times.kill_at < times.deadline
    assert times.kill_at - times.terminate_at <= grace + 1e-9


@pytest.mark.parametrize("ttl", TTLS)
def test_grace_that_fits_is_given_in_full(ttl: float) -> None:
    """And not more than the longest one."""
    longest = longest_grace(ttl, 0.9 * ttl)
    times = end_times(100.0, ttl, 0.9 * ttl, longest / 2)

    assert times.kill_at - times.terminate_at == pytest.approx(longest / 2)


def test_schedule_without_renewals() -> None:
    """It is asked once, then killed; a renewal after that changes nothing of what it was asked."""
    schedule = EndSchedule(10.0, 12.0)
    assert not schedule.must_be_asked(9.9)
    assert schedule.next_at() == 10.0
    assert schedule.must_be_asked(10.0)
    schedule.tell(10.0, 2.0)
    assert not schedule.must_be_asked(10.1)
    assert schedule.next_at() == 12.0
    schedule.renew(20.0, 22.0)
    assert not schedule.must_be_killed(11.9)
    assert schedule.must_be_killed(12.0)


def test_schedule_moves_on_with_renewals() -> None:
    """A lease that is renewed in time ends no child."""
    schedule = EndSchedule(10.0, 12.0)
    schedule.renew(20.0, 22.0)
    assert not schedule.must_be_asked(19.9)
    assert not schedule.must_be_killed(19.9)


def test_schedule_of_a_child_that_was_asked_ends_with_the_lease_at_the_latest() -> None:
    """A long grace is cut off by the lease, and a second one prolongs nothing."""
    schedule = EndSchedule(10.0, 12.0)
    schedule.tell(5.0, 100.0)
    assert schedule.must_be_killed(12.0)
    schedule.tell(6.0, 1.0)
    schedule.tell(6.5, inf)
    assert schedule.must_be_killed(7.0)


def test_guard_reads_the_clock_of_the_leases() -> None:
    """The guard imports nothing of the package, so it has a copy of the function."""
    before = clock.now()
    assert before <= boot_time() <= clock.now()
