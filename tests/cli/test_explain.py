"""`leadership explain`: numbers that are true."""

from __future__ import annotations

import json
import random

import pytest

from leadership_core.cli.forecast import Forecast, forecast
from leadership_core.lease import Lease
from tests.cli.command import run

REQUEST = 0.02


def made(ttl: float, margin: float | None = None) -> Forecast:
    return forecast(
        ttl, ttl, margin=margin, least_margin=0.0, expires_within=2 * ttl, request=REQUEST
    )


def survives(ttl: float, begins: float, lasts: float, rng: random.Random) -> bool:
    """Play an outage: whether a lease that was renewed at 0 is renewed again before its end.

    A request that is sent during the outage fails at once, or hangs for as long as it may.
    """
    now = 0.0
    lease = Lease(ttl, rng=rng, now=lambda: now)
    lease.acknowledge(0.0, ttl)
    while True:
        now = lease.renew_at
        if not lease.holds():
            return False
        limit = lease.request_limit()
        if now + REQUEST < begins:
            lease.acknowledge(now, ttl)
        elif now >= begins + lasts:
            return limit >= REQUEST and now + REQUEST < lease.deadline
        else:
            now += limit if rng.random() < 0.5 else min(limit, REQUEST)
            lease.fail()


@pytest.mark.parametrize("ttl", [1.0, 3.0, 15.0, 60.0])
def test_the_outage_that_is_said_to_be_ridden_out_is_ridden_out(ttl: float) -> None:
    """Whenever it begins, and however the requests fail; one a good deal longer is not."""
    rng = random.Random(4)
    sure = made(ttl).outage_sure
    begins = [rng.uniform(0.0, 2 * ttl) for _ in range(3000)]
    assert all(survives(ttl, begin, sure, rng) for begin in begins)
    too_long = sure + ttl / 3
    assert not all(survives(ttl, begin, too_long, rng) for begin in begins)


def test_it_follows_from_the_ttl_that_was_granted() -> None:
    """15 s: a margin of a tenth, renewals every third, and what is left for an outage."""
    what = made(15.0)
    assert what.margin == pytest.approx(1.5)
    assert what.belief == pytest.approx(13.5)
    assert (what.renewal_earliest, what.renewal_latest) == pytest.approx((4.0, 5.0))
    assert 8.1 < what.outage_sure < 8.5 < what.outage_best < 13.5
    assert (what.crash_earliest, what.crash_latest) == pytest.approx((10.0, 30.0))
    assert what.resign < 0.2
    assert (what.partition_belief, what.partition_others) == pytest.approx((13.5, 30.0))


def test_a_longer_margin_leaves_less_for_an_outage() -> None:
    """It ends belief sooner, and with it what can be ridden out."""
    assert made(15.0, 5.0).belief == pytest.approx(10.0)
    assert made(15.0, 5.0).outage_sure < made(15.0).outage_sure - 3.0


def test_a_very_short_ttl_rides_out_nothing() -> None:
    """Rather than a negative time."""
    assert made(0.1).outage_sure == 0.0


def test_it_asks_the_store(url: str) -> None:
    """The numbers are those of a session that was really opened."""
    done = run("explain", url, "--ttl", "3", "--margin", "0.6", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["url"] == url
    assert found["ttl_asked"] == found["ttl_granted"] == 3.0
    assert found["margin"] == pytest.approx(0.6)
    assert found["belief"] == pytest.approx(2.4)
    assert 3.0 <= found["crash_latest"] < 3.5
    assert 0.0 < found["request"] < 1.0
    assert found["crash_latest"] == found["partition_others"]


def test_the_text_gives_every_number_a_meaning(url: str) -> None:
    """A number at the beginning of each line, and plain words behind it."""
    lines = run("explain", url, "--ttl", "15").out.splitlines()
    numbers = [line for line in lines if line.startswith("   ")]
    assert len(numbers) == 11
    for line in numbers:
        number, meaning = line.split(maxsplit=1)
        assert float(number) >= 0.0
        assert len(meaning.split()) >= 4
