"""How often an election asks: never in a hot loop, and never too late for a handover."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import ExitStack

import pytest

from leadership_consul.pace import Pace
from leadership_core import Candidate, open_store
from tests.consul.tools import wait_until
from tests.servers.consul import Consul

HANDOVERS = 30


@pytest.mark.parametrize(("members", "cooldown"), [(2, 0.02), (3, 0.2)])
def test_a_ping_pong_of_handovers_is_not_held_up(
    consul: Consul,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
    members: int,
    cooldown: float,
) -> None:
    """Each has a store of its own and resigns as soon as it leads: the pace says of no delay.

    With the cooldown everybody has a turn; who has had none for ten handovers in a row could
    not be told from the victim of a mad server.
    """
    led: list[str] = []
    over = threading.Event()

    def stand(candidate: Candidate) -> None:
        for elected in candidate.run_for_election():
            if over.is_set():
                return
            if elected:
                led.append(candidate.value)
                candidate.resign(cooldown)

    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(consul.url)) for _ in range(members)]
        candidates = [Candidate(store, unique_key, f"c{n}") for n, store in enumerate(stores)]
        threads = [threading.Thread(target=stand, args=[one]) for one in candidates]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(set(led)) == members, 10)  # that was their start
        begun = len(led)
        with caplog.at_level(logging.DEBUG, "leadership_consul"):
            wait_until(lambda: len(led) >= begun + HANDOVERS, 30)
        over.set()
        for candidate in candidates:
            candidate.stop()
        for thread in threads:
            thread.join(5)

    assert "too many requests" not in caplog.text


def test_a_burst_and_then_a_few_a_second() -> None:
    """What comes at once is let through up to the burst; then each has to wait its turn."""
    pace = Pace(2.0, 5.0)

    waits = [pace.delay() for _ in range(6)]

    assert waits[:4] == [0.0] * 4
    assert waits[4] == pytest.approx(0.5, abs=0.05)
    assert waits[5] == pytest.approx(1.0, abs=0.05)


def test_trouble_is_not_paid_for_longer_than_it_lasted() -> None:
    """However much was asked, the next request may be made soon."""
    pace = Pace(2.0, 6.0)

    pace.spend(1000)

    assert pace.wait() <= 2.0


def test_what_a_user_does_is_free() -> None:
    """All that was spent is forgiven, and some more is to come."""
    pace = Pace(0.001, 5.0)
    pace.spend(8)

    pace.refill(credit=3)

    assert [pace.delay() for _ in range(8)][:7] == [0.0] * 7
    assert pace.wait() > 0


def test_what_is_given_pays_a_debt_and_makes_no_credit() -> None:
    """Nothing is saved up for later, however often something is given."""
    pace = Pace(0.001, 5.0)
    pace.spend(7)

    pace.give(4.0)
    assert [pace.delay() for _ in range(2)] == [0.0, pytest.approx(1000, rel=0.01)]
    for _ in range(10):
        pace.give(4.0)
    assert [pace.delay() for _ in range(5)][3:] == [0.0, pytest.approx(1000, rel=0.01)]


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_tries_for_a_held_lock_do_not_wait_for_the_limiter(
    consul: Consul, unique_key: str, caplog: pytest.LogCaptureFixture, timeout: float
) -> None:
    """Each is a candidate that a user has started: no limiter delays what the store says of it."""
    with open_store(consul.url) as holder, open_store(consul.url) as store:
        assert holder.lock(unique_key).acquire(5)
        lock = store.lock(unique_key)
        with caplog.at_level(logging.DEBUG, "leadership_consul"):
            for _ in range(20):
                assert lock.acquire(timeout) is None
    assert "too many requests" not in caplog.text


def test_each_member_has_its_share() -> None:
    """Two that wait for the same key ask twice as often as one."""
    pace = Pace(0.001, 5.0)
    pace.join()
    pace.join()

    assert [pace.delay() for _ in range(9)] == [0.0] * 9
    assert pace.delay() > 0


def test_members_of_a_pace_that_come_and_go_in_many_threads_are_counted() -> None:
    """None is lost and none left over, and what is kept for one is not kept for ever."""
    pace = Pace(1e6, 1e6)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def come_and_go() -> None:
        for _ in range(2000):
            pace.join()
            pace.turn(1.0)
            pace.leave()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert (pace._members, pace._kept) == (0, 0.0)
