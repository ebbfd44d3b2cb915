"""The deadline of a session, on a clock that the test moves."""

from __future__ import annotations

import random
import time
from decimal import Decimal
from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, Follower, open_store
from leadership_core.errors import ConfigurationError, StoreUnavailable
from leadership_core.lease import Lease, LostReason
from leadership_core.timing import Backoff, Pace, check_ttl, margin_for, request_limit


class Hands:
    """A clock."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Unspeakable:
    """What cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError("no text")


NO_SECONDS = [
    nan, inf, -inf, True, "15", None, [15], 10**400, 10**5000, -(10**5000), Decimal(15),
    Decimal("nan"), Fraction(15), Fraction(10**5000, 3), 15j, Unspeakable(),
]  # fmt: skip


def name_of(odd: object) -> str:
    return type(odd).__name__


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def lease(clock: Hands) -> Lease:
    """Of 10 s, with a margin of 1 s."""
    return Lease(10.0, now=clock)


def test_lease_without_acknowledgement_does_not_hold(lease: Lease) -> None:
    """Opening a session alone proves nothing; and it is not over either."""
    assert not lease.holds()
    assert not lease.acknowledged
    assert lease.over is None
    assert lease.remaining() == 0.0


def test_deadline_counts_from_the_sending(lease: Lease, clock: Hands) -> None:
    """The answer took 3 s, which are lost."""
    clock.time = 1003.0

    assert lease.acknowledge(1000.0, 10.0)
    assert lease.deadline == 1009.0
    assert lease.remaining() == 6.0
    clock.time = 1008.999
    assert lease.holds()
    clock.time = 1009.0
    assert not lease.holds()


def test_acknowledgement_after_the_deadline_revives_nothing(lease: Lease, clock: Hands) -> None:
    """Not even if nobody has looked at the lease since."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1009.5

    assert not lease.acknowledge(1008.0, 10.0)
    assert not lease.holds()
    assert lease.over is LostReason.EXPIRED


def test_first_acknowledgement_that_is_too_late_counts_for_nothing(
    lease: Lease, clock: Hands
) -> None:
    """The process slept between the request and its answer."""
    clock.time = 1010.0

    assert not lease.acknowledge(1000.0, 10.0)
    assert lease.over is LostReason.EXPIRED


def test_over_stays_over_even_if_the_clock_goes_back(lease: Lease, clock: Hands) -> None:
    """What one reader has seen to be over is over for all."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1009.0
    assert not lease.holds()

    clock.time = 1001.0

    assert not lease.holds()
    assert not lease.acknowledge(1001.0, 10.0)


def test_older_acknowledgement_is_never_mixed_up_with_a_longer_lease(
    lease: Lease, clock: Hands
) -> None:
    """A shorter grant moves the deadline back."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1001.0

    assert lease.acknowledge(1001.0, 4.0)
    assert lease.ttl == 4.0
    assert lease.deadline == pytest.approx(1001.0 + 4.0 - 0.5)


def test_users_margin_shrinks_with_the_grant(clock: Hands) -> None:
    """It was checked against the ttl that was asked for."""
    lease = Lease(10.0, margin=3.0, now=clock)

    assert lease.acknowledge(1000.0, 3.0)
    assert lease.deadline == pytest.approx(1002.0)


def test_grant_too_short_for_the_store_is_refused(clock: Hands) -> None:
    """Half a tick does not fit any more."""
    lease = Lease(10.0, least_margin=2.0, now=clock)

    with pytest.raises(ConfigurationError, match="at least 6 s"):
        lease.acknowledge(1000.0, 3.0)


@pytest.mark.parametrize(
    "ttl", [0.0, -1.0, nan, inf, -inf, True, None, "10", 10**400, -(10**5000)], ids=name_of
)
def test_grant_that_is_none_is_told_and_not_believed(
    lease: Lease, clock: Hands, ttl: float
) -> None:
    """The server, or the plugin, says nothing that a deadline can be made of."""
    with pytest.raises(StoreUnavailable, match="ttl"):
        lease.acknowledge(1000.0, ttl)
    assert not lease.acknowledged
    assert lease.acknowledge(1000.0, 10.0)
    clock.time = 1004.0
    with pytest.raises(StoreUnavailable, match="ttl"):
        lease.acknowledge(1004.0, ttl)

    assert lease.deadline == 1009.0


@pytest.mark.parametrize("granted", [10.5, 86_400.0, 1e18, 1e300])
def test_no_more_is_believed_than_was_asked_for(lease: Lease, granted: float) -> None:
    """A longer grant is the word of one server; what the store may keep is known all the same."""
    lease.acknowledge(1000.0, granted)

    assert lease.ttl == 10.0
    assert lease.deadline == 1009.0
    assert lease.renew_at <= 1000.0 + 10 / 3
    assert lease.granted == min(granted, 86_400.0)


def test_a_grant_that_was_shorter_and_grows_again(lease: Lease) -> None:
    """What was asked for stays the limit, whatever was granted in between."""
    lease.acknowledge(1000.0, 4.0)
    lease.acknowledge(1001.0, 20.0)

    assert lease.ttl == 10.0
    assert lease.deadline == 1010.0


def test_end_keeps_the_first_reason(lease: Lease, clock: Hands) -> None:
    """A lease that expired was not lost once more."""
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1010.0
    lease.end(LostReason.SESSION_LOST)

    assert lease.over is LostReason.EXPIRED


def test_end_ends_at_once(lease: Lease) -> None:
    """Long before the deadline."""
    lease.acknowledge(1000.0, 10.0)
    lease.end(LostReason.SESSION_LOST)

    assert not lease.holds()
    assert lease.over is LostReason.SESSION_LOST


def test_renewals_are_tried_faster_the_less_is_left(lease: Lease, clock: Hands) -> None:
    """And never in a hot loop."""
    lease.acknowledge(1000.0, 10.0)
    assert 1002.6 < lease.renew_at <= 1003.4
    waits = []
    while lease.holds():
        lease.fail()
        waits.append(lease.renew_at - clock.time)
        clock.time = lease.renew_at

    assert waits[0] == 1.0
    assert waits == sorted(waits, reverse=True)
    assert min(waits) > 0.0199
    assert len(waits) < 40


def test_a_short_lease_is_not_tried_for_ever_more_often(clock: Hands) -> None:
    """A store that turns away every try gets fewer than ten in what a ttl of 2 s leaves."""
    lease = Lease(2.0, now=clock)
    lease.acknowledge(clock.time, 2.0)
    clock.time = lease.renew_at
    tries = 0
    while lease.holds():
        tries += 1
        lease.fail()
        clock.time = lease.renew_at

    assert tries < 10


def test_failing_first_renewals_are_no_hot_loop(lease: Lease, clock: Hands) -> None:
    """Nothing is left of a lease that never was, which is no reason to hurry."""
    lease.fail()

    assert lease.renew_at - clock.time == 1.0


def test_requests_fit_into_what_is_left(lease: Lease, clock: Hands) -> None:
    """A third of the ttl, and half of what is left."""
    assert lease.request_limit() == pytest.approx(10 / 3)
    lease.acknowledge(1000.0, 10.0)
    clock.time = 1005.0
    assert lease.request_limit() == 2.0
    clock.time = 1020.0
    assert lease.request_limit() == 0.0


def test_longest_is_what_a_renewal_gives(clock: Hands) -> None:
    """With the margin of this lease, not the usual one."""
    assert Lease(9.0, margin=3.0, now=clock).longest == 6.0
    assert Lease(9.0, margin=0.1, now=clock).longest == pytest.approx(8.9)
    assert Lease(9.0, least_margin=2.0, now=clock).longest == 7.0


@given(
    st.floats(0.01, 1e5),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 1)), max_size=30),
)
def test_never_held_later_than_the_last_acknowledged_sending_allows(
    ttl: float, steps: list[tuple[float, float]]
) -> None:
    """Whatever the order of sending, answering and sleeping."""
    clock = Hands()
    lease = Lease(ttl, now=clock)
    last = -inf
    for pause, took in steps:
        sent = clock.time
        clock.time += pause * took * ttl / 10
        alive = lease.over is None and (last == -inf or clock.time < last + ttl - margin_for(ttl))
        if lease.acknowledge(sent, ttl):
            assert alive
            last = sent
        clock.time += pause * (1 - took) * ttl / 10
        assert lease.holds() == (
            lease.over is None and last > -inf and clock.time < last + ttl - margin_for(ttl)
        )


# -- the times that follow from a ttl -----------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "wanted", "least", "margin"),
    [
        (15.0, None, 0.0, 1.5),
        (3.0, None, 0.0, 0.5),
        (0.9, None, 0.0, 0.3),
        (100.0, None, 0.0, 10.0),
        (15.0, 5.0, 0.0, 5.0),
        (15.0, 0.01, 0.0, 0.01),
        (15.0, 0.01, 1.0, 1.0),
        (15.0, None, 3.0, 3.0),
        (15.0, None, 5.0, 5.0),
    ],
)
def test_margin(ttl: float, wanted: float | None, least: float, margin: float) -> None:
    """A tenth of the ttl, half a second at least, a third at most, and what the store needs."""
    assert margin_for(ttl, wanted, least) == pytest.approx(margin)


@pytest.mark.parametrize(
    ("wanted", "least"),
    [(5.01, 0.0), (0.0, 0.0), (-1.0, 0.0), (inf, 0.0), (nan, 0.0), (True, 0.0), (None, 5.01)],
)
def test_margin_that_does_not_fit(wanted: float | None, least: float) -> None:
    """Neither the user's nor the store's may be more than a third of the ttl."""
    with pytest.raises(ConfigurationError):
        margin_for(15.0, wanted, least)


@pytest.mark.parametrize("ttl", [0, -1, 1e300, *NO_SECONDS], ids=name_of)
def test_ttl_that_is_none(ttl: float) -> None:
    """Only positive finite numbers are."""
    with pytest.raises(ConfigurationError, match="ttl") as caught:
        check_ttl(ttl)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("odd", [one for one in NO_SECONDS if one is not None], ids=name_of)
def test_what_is_no_number_of_seconds_is_said_everywhere(odd: float) -> None:
    """A margin, a timeout, a cooldown: nobody gets the error of a comparison or of a lock."""
    with open_store("memory://odd-seconds") as store:
        candidate, follower = Candidate(store, "key", "a", ttl=1), Follower(store, "key")
        term = candidate.wait_elected(5)
        assert term is not None
        for take in (
            lambda: Candidate(store, "key", "b", margin=odd),
            lambda: candidate.wait_elected(odd),
            lambda: candidate.leading(odd).__enter__(),
            lambda: candidate.resign(odd),
            lambda: candidate.stop(odd),
            lambda: candidate.lead(print, cooldown=odd),
            lambda: follower.wait_leader(odd),
            lambda: term.ensure(odd),
            lambda: term.wait_lost(odd),
            lambda: store.lock("lock").acquire(odd),
            lambda: store.close(odd),
            lambda: store.open_session(odd),
        ):
            with pytest.raises(ConfigurationError):
                take()
        assert candidate.is_leader


@pytest.mark.parametrize("long", [1e10, 1e300, 10**300], ids=name_of)
def test_who_waits_very_long_waits(long: float) -> None:
    """Longer than a lock can."""
    with open_store("memory://long-waits") as store:
        candidate, follower = Candidate(store, "key", "a", ttl=1), Follower(store, "key")
        term = candidate.wait_elected(long)
        assert term is not None
        assert follower.wait_leader(long) is not None
        with store.lock("lock"):
            pass
        assert store.lock("lock").acquire(long) is not None
        assert candidate.resign(long)
        assert term.wait_lost(long)
        other = Candidate(store, "key", "b", ttl=1)
        assert other.wait_elected(5) is not None
        time.sleep(0.05)
        assert other.is_leader
        assert candidate.stop(long)
        assert store.close(long)


def test_request_limit_is_never_negative() -> None:
    """A lease may be over by long."""
    assert request_limit(9.0) == 3.0
    assert request_limit(9.0, -5.0) == 0.0


def test_backoff_spreads_and_is_capped() -> None:
    """Full jitter: anything from nothing to the cap."""
    backoff = Backoff(5.0, random.Random(1))
    waits = [backoff.next() for _ in range(400)]

    assert waits[0] <= 0.1
    assert max(waits) <= 5.0
    assert 2.0 < sum(waits[10:]) / len(waits[10:]) < 3.0
    backoff.reset()
    assert backoff.next() <= 0.1


def test_eager_backoff_begins_at_once_but_only_once() -> None:
    """After the first it is like the others."""
    backoff = Backoff(5.0, random.Random(1), eager=True)

    assert backoff.next() == 0.0
    assert sum(backoff.next() for _ in range(50)) > 50


def test_pace_lets_a_burst_through_and_then_a_few() -> None:
    """Twenty at once, twenty a second."""
    pace = Pace()
    now, count = 0.0, 0
    while now < 10.0:
        wait = pace.wait(now)
        if wait:
            now += wait + 1e-9
        else:
            pace.spend(now)
            count += 1

    assert 215 <= count <= 225
    pace.reset()
    assert pace.wait(now) == 0.0
