"""Leases, their margins and backoffs, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from math import inf, nan
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, Follower, open_store
from leadership_core.backend.validation import check_ttl
from leadership_core.engine import lease as lease_module
from leadership_core.engine.backoff import Backoff
from leadership_core.engine.lease import Lease
from leadership_core.engine.timing import request_limit, safety_margin
from leadership_core.errors import ConfigurationError, StoreUnavailable
from leadership_core.term import LostReason


class ManualClock:
    """A clock that shows the time that a test sets."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Unprintable:
    """An object without a printable form."""

    def __repr__(self) -> str:
        raise ValueError("no text")


NO_SECONDS = [
    nan, inf, -inf, True, "15", None, [15], 10**400, 10**5000, -(10**5000), Decimal(15),
    Decimal("nan"), Fraction(15), Fraction(10**5000, 3), 15j, Unprintable(),
]  # fmt: skip


def name_of(odd: object) -> str:
    return type(odd).__name__


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> Lease:
    """A lease of 10 s, with a margin of 1 s."""
    return Lease(10.0, now=clock)


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


def test_end_found_by_a_reader_is_final_while_an_acknowledgement_is_processed(
    lease: Lease, clock: ManualClock
) -> None:
    """The acknowledgement came in time; its thread is held up before it writes the new deadline."""
    lease.acknowledge(1000.0, 10.0)

    class Sent(float):
        def __add__(self, ttl: float) -> float:
            clock.time = 1009.5
            assert lease.check() is LostReason.EXPIRED
            return float(self) + ttl

    clock.time = 1008.5
    assert not lease.acknowledge(Sent(1008.0), 10.0)

    assert lease.deadline == 1017.0
    assert lease.check() is LostReason.EXPIRED
    assert not lease.is_valid(clock.time)
    assert lease.remaining() == 0.0


class Preempted:
    """Interrupts a call at one step of the interpreter within the lease, as another thread may."""

    def __init__(self, step: int, intruder: Callable[[], object]) -> None:
        self.reached = False
        self._steps = step
        self._intruder = intruder

    def __call__(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, what: str, argument: object) -> Any:
        if frame.f_code.co_filename != lease_module.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, what: str, argument: object) -> Any:
        if what == "opcode":
            self._steps -= 1
            if self._steps == 0:
                self.reached = True
                self._intruder()  # which is not traced
        return self._step


class Readers:
    """A lease with a deadline at 1009.0, and what its readers have found so far."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lease = Lease(10.0, now=self.clock)
        self.lease.acknowledge(1000.0, 10.0)
        self.found: list[LostReason | None] = []

    def read(self) -> None:
        """Read as `Term` does: no time left means that the term is over."""
        left, reason = self.lease.remaining(), self.lease.check()
        assert left > 0 or reason is not None
        self.found.append(reason)

    def read_after_the_deadline(self) -> None:
        """What others do while the thread that acknowledges is held up."""
        self.read()
        self.clock.time = 1009.5
        self.read()

    def finish_acknowledging(self) -> None:
        """What the thread that acknowledges still does when it was held up after its first check."""
        self.lease.deadline = 1017.0
        self.read()

    def assert_first_end_is_final(self) -> None:
        self.read()
        reasons = list(itertools.dropwhile(lambda one: one is None, self.found))
        assert len(set(reasons)) <= 1, self.found


def test_end_is_final_wherever_the_acknowledging_thread_is_preempted() -> None:
    """It is held up at each step of the interpreter, and the deadline passes meanwhile."""
    outcomes = set()
    for step in itertools.count(1):
        readers = Readers()
        readers.clock.time = 1008.9
        thread = Preempted(step, readers.read_after_the_deadline)
        in_time = thread(partial(readers.lease.acknowledge, 1008.0, 10.0))
        if not thread.reached:
            break
        assert not in_time or readers.found == [None, None], step
        readers.assert_first_end_is_final()
        outcomes.add(in_time)
    assert outcomes == {True, False}  # both orders of the two threads


@pytest.mark.parametrize("method", ["check", "end", "remaining"])
def test_end_is_final_wherever_a_reading_thread_is_preempted(method: str) -> None:
    """It is held up at each step of the interpreter, and the deadline is moved meanwhile."""
    ends = set()
    for step in itertools.count(1):
        readers = Readers()
        readers.clock.time = 1009.5
        thread = Preempted(step, readers.finish_acknowledging)
        arguments = [LostReason.DELETED] if method == "end" else []
        outcome = thread(partial(getattr(readers.lease, method), *arguments))
        if not thread.reached:
            break
        if method == "check" and outcome is not None:
            readers.found.append(LostReason(outcome))
        readers.assert_first_end_is_final()
        if method == "remaining":
            assert (outcome == 0.0) == (readers.found[-1] is not None), step
        ends.add(readers.found[-1])
    assert ends == {LostReason.EXPIRED, LostReason.DELETED if method == "end" else None}


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


# -- timing -----------------------------------------------------------


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
    """It is a tenth of the ttl, but between 0.5 s and a third, and at least the store's margin."""
    assert safety_margin(ttl, wanted, least) == pytest.approx(margin)


@pytest.mark.parametrize(
    ("wanted", "least"),
    [(5.01, 0.0), (0.0, 0.0), (-1.0, 0.0), (inf, 0.0), (nan, 0.0), (True, 0.0), (None, 5.01)],
)
def test_margin_above_a_third_of_the_ttl_is_rejected(wanted: float | None, least: float) -> None:
    """Neither the user's nor the store's may exceed a third of the ttl."""
    with pytest.raises(ConfigurationError):
        safety_margin(15.0, wanted, least)


@pytest.mark.parametrize("ttl", [0, -1, 1e300, *NO_SECONDS], ids=name_of)
def test_invalid_ttl_is_rejected(ttl: float) -> None:
    """Only positive finite numbers are accepted."""
    with pytest.raises(ConfigurationError, match="ttl") as caught:
        check_ttl(ttl)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("odd", [one for one in NO_SECONDS if one is not None], ids=name_of)
def test_invalid_seconds_are_rejected_by_each_method(odd: float) -> None:
    """The error is no `TypeError` from a comparison or a lock."""
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
def test_very_long_timeouts_are_accepted(long: float) -> None:
    """They exceed the longest timeout of a lock in the standard library."""
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
    """The lease may have ended long ago."""
    assert request_limit(9.0) == 3.0
    assert request_limit(9.0, -5.0) == 0.0


def test_backoff_spreads_and_is_capped() -> None:
    """With full jitter each wait is anything from 0 to the cap."""
    backoff = Backoff(5.0, random.Random(1))
    waits = [backoff.next() for _ in range(400)]

    assert waits[0] <= 0.1
    assert max(waits) <= 5.0
    assert 2.0 < sum(waits[10:]) / len(waits[10:]) < 3.0
    backoff.reset()
    assert backoff.next() <= 0.1


def test_eager_backoff_has_no_wait_before_the_first_try() -> None:
    """After the first try it is like a backoff that is not eager."""
    backoff = Backoff(5.0, random.Random(1), eager=True)

    assert backoff.next() == 0.0
    assert sum(backoff.next() for _ in range(50)) > 50
