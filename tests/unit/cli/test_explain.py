"""`leadership explain`: its estimate compared with simulated outages, and its output."""

from __future__ import annotations

import json
import random

import pytest

from leadership_core.cli.timing_estimate import TimingEstimate, estimate_timing
from leadership_core.engine.lease import Lease
from tests.unit.cli.command import run

REQUEST = 0.02


def made(ttl: float, margin: float | None = None) -> TimingEstimate:
    return estimate_timing(
        ttl, ttl, margin=margin, least_margin=0.0, expires_within=2 * ttl, request=REQUEST
    )


def survives(ttl: float, begins: float, lasts: float, rng: random.Random) -> bool:
    """Simulate an outage: return whether a lease renewed at 0 is renewed again before its end.

    A request that is sent during the outage fails at once, or hangs for as long as it may.
    """
    now = 0.0
    lease = Lease(ttl, rng=rng, now=lambda: now)
    lease.acknowledge(0.0, ttl)
    while True:
        now = lease.renew_at
        if lease.check() is not None:
            return False
        limit = lease.request_limit()
        if now + REQUEST < begins:
            lease.acknowledge(now, ttl)
        elif now >= begins + lasts:
            return limit >= REQUEST and now + REQUEST < lease.deadline
        else:
            now += limit if rng.random() < 0.5 else min(limit, REQUEST)
            lease.schedule_retry()


@pytest.mark.parametrize("ttl", [1.0, 3.0, 15.0, 60.0])
def test_estimated_outage_is_tolerated(ttl: float) -> None:
    """It is tolerated whenever it begins and however requests fail; a much longer one is not."""
    rng = random.Random(4)
    tolerated = made(ttl).outage_tolerated
    begins = [rng.uniform(0.0, 2 * ttl) for _ in range(3000)]
    assert all(survives(ttl, begin, tolerated, rng) for begin in begins)
    too_long = tolerated + ttl / 3
    assert not all(survives(ttl, begin, too_long, rng) for begin in begins)


def test_estimate_follows_from_the_granted_ttl() -> None:
    """With 15 s the margin is a tenth, renewals come every third, and the rest is for an outage."""
    estimate = made(15.0)
    assert estimate.margin == pytest.approx(1.5)
    assert estimate.leads_until == pytest.approx(13.5)
    assert (estimate.renewal_earliest, estimate.renewal_latest) == pytest.approx((4.0, 5.0))
    assert 8.1 < estimate.outage_tolerated < 8.5 < estimate.outage_tolerated_at_best < 13.5
    assert (estimate.crash_earliest, estimate.crash_latest) == pytest.approx((10.0, 30.0))
    assert estimate.resign < 0.2
    assert (estimate.partition_leads_until, estimate.partition_next_leader) == pytest.approx(
        (13.5, 30.0)
    )


def test_estimate_tolerates_a_shorter_outage_with_a_longer_margin() -> None:
    """The leader stops leading earlier, so a shorter outage costs its leadership."""
    assert made(15.0, 5.0).leads_until == pytest.approx(10.0)
    assert made(15.0, 5.0).outage_tolerated < made(15.0).outage_tolerated - 3.0


def test_estimate_tolerates_no_outage_with_a_very_short_ttl() -> None:
    """The tolerated outage is 0, not negative."""
    assert made(0.1).outage_tolerated == 0.0


def test_explain_opens_a_session_on_the_store(url: str) -> None:
    """The numbers are those of a session that was really opened."""
    done = run("explain", url, "--ttl", "3", "--margin", "0.6", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["url"] == url
    assert found["requested_ttl"] == found["granted_ttl"] == 3.0
    assert found["margin"] == pytest.approx(0.6)
    assert found["leads_until"] == pytest.approx(2.4)
    assert 3.0 <= found["crash_latest"] < 3.5
    assert 0.0 < found["request"] < 1.0
    assert found["crash_latest"] == found["partition_next_leader"]


def test_explain_prints_a_meaning_behind_every_number(url: str) -> None:
    """Each line begins with a number of seconds."""
    lines = run("explain", url, "--ttl", "15").out.splitlines()
    numbers = [line for line in lines if line.startswith("   ")]
    assert len(numbers) == 11
    for line in numbers:
        number, meaning = line.split(maxsplit=1)
        assert float(number) >= 0.0
        assert len(meaning.split()) >= 4
