"""The rate limiter: bursts, the steady rate, debts, reservations and members."""

from __future__ import annotations

import sys
import threading

import pytest

from leadership_core.backend import RateLimiter


def test_rate_limiter_allows_a_burst_then_the_rate() -> None:
    """It allows twenty requests at once, then twenty a second."""
    limiter = RateLimiter(burst=20, rate=20.0)
    now, count = 0.0, 0
    while now < 10.0:
        wait = limiter.delay(now=now)
        if wait:
            now += wait + 1e-9
        else:
            limiter.consume(now=now)
            count += 1

    assert 215 <= count <= 225
    limiter.reset()
    assert limiter.delay(now=now) == 0.0


def test_consume_returns_the_delay_of_the_next_request() -> None:
    """It is 0.0 within the burst, and grows by one interval with each request after that."""
    limiter = RateLimiter(burst=5, rate=2.0)

    waits = [limiter.consume(now=1.0) for _ in range(6)]

    assert waits == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    assert limiter.delay(now=1.25) == pytest.approx(0.75)
    assert limiter.delay(now=2.0) == 0.0


def test_debt_is_half_a_burst_at_most() -> None:
    """However much was consumed, the next request may be made soon."""
    limiter = RateLimiter(burst=6, rate=2.0)

    limiter.consume(1000, now=0.0)

    assert limiter.delay(now=0.0) == 2.0


def test_pause_makes_no_credit() -> None:
    """After an hour without a request the burst is no longer than at the beginning."""
    limiter = RateLimiter(burst=2, rate=1.0)
    limiter.consume(now=0.0)

    assert [limiter.consume(now=3600.0) for _ in range(2)] == [0.0, 1.0]


def test_clock_that_goes_back_drains_nothing() -> None:
    """An earlier time than the one before counts as the same moment."""
    limiter = RateLimiter(burst=1, rate=1.0)
    limiter.consume(now=10.0)

    assert limiter.delay(now=5.0) == 1.0


def test_reset_with_credit_extends_the_burst() -> None:
    """The credit is used up before the burst is."""
    limiter = RateLimiter(burst=2, rate=1.0)
    limiter.consume(3, now=0.0)

    limiter.reset(credit=1)

    assert [limiter.consume(now=0.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_payment_settles_a_debt_and_makes_no_credit() -> None:
    """Repeated payments give later requests no credit."""
    limiter = RateLimiter(burst=5, rate=0.001)
    limiter.consume(7, now=0.0)

    limiter.pay(4.0, now=0.0)
    assert [limiter.consume(now=0.0) for _ in range(2)] == [0.0, pytest.approx(1000)]
    for _ in range(10):
        limiter.pay(4.0, now=0.0)
    assert [limiter.consume(now=0.0) for _ in range(5)][3:] == [0.0, pytest.approx(1000)]


def test_delay_of_several_requests_is_until_all_may_be_made() -> None:
    """A caller that needs three requests in a row asks for three."""
    limiter = RateLimiter(burst=4, rate=2.0)
    limiter.consume(3, now=0.0)

    assert [limiter.delay(count, now=0.0) for count in (1, 2, 3)] == [0.0, 0.5, 1.0]
    assert limiter.delay(3, now=1.0) == 0.0


def test_reservation_holds_back_other_requests() -> None:
    """As long as a reservation waits, single requests leave room for it."""
    limiter = RateLimiter(burst=4, rate=1.0)
    limiter.consume(3, now=0.0)
    assert limiter.delay(now=0.0) == 0.0

    assert limiter.reserve(2, now=0.0) == 1.0
    assert limiter.delay(now=0.0) == 2.0
    assert limiter.reserve(2, now=1.0) == 0.0
    assert limiter.delay(now=1.0) == 0.0


def test_limits_are_for_each_member() -> None:
    """Two members may make twice as many requests as one."""
    limiter = RateLimiter(burst=5, rate=0.001)
    limiter.add_member()
    limiter.add_member()

    assert [limiter.consume() for _ in range(9)] == [0.0] * 9
    assert limiter.consume() > 0


def test_members_are_counted_across_threads() -> None:
    """Members that come and go concurrently leave no count and no reservation behind."""
    limiter = RateLimiter(burst=5, rate=0.001)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def come_and_go() -> None:
        for _ in range(2000):
            limiter.add_member()
            limiter.reserve(1.0)
            limiter.remove_member()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert [limiter.consume() for _ in range(5)] == [0.0] * 4 + [pytest.approx(1000, rel=0.01)]


def test_request_is_allowed_after_the_delay_by_a_large_clock() -> None:
    """A delay below the resolution of the clock would be one that never ends."""
    limiter, now = RateLimiter(), 844421.9515250481
    for _ in range(200):
        limiter.consume(now=now)
        now += limiter.delay(now=now)
        assert limiter.delay(now=now) == 0.0
        now += 0.0007
