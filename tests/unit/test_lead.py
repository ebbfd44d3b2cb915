"""`Candidate.lead`, the work done in it, and the term of that work."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core import (
    Candidate,
    Capability,
    ConfigurationError,
    Fence,
    Fenced,
    LeadershipLost,
    Store,
    StoreUnavailable,
    Term,
)
from leadership_core.backend import clock
from leadership_core.stores.memory import State
from tests.support.internals import term_state
from tests.support.waiting import at_most, eventually
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore


def test_work_that_returns_resigns_and_is_called_again(open_one: Open) -> None:
    """It gets a new term each time, after the cooldown, in which other candidates may win."""
    candidate = Candidate(open_one(), "key", "a", ttl=3)
    tokens: list[int] = []

    def work(term: Term) -> None:
        assert candidate.is_leader
        tokens.append(term.token)
        if len(tokens) == 3:
            candidate.stop()

    candidate.lead(work, cooldown=0)
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 3
    # A stop from within the work does not wait for the store, so `lead` has not either.
    other = open_one()
    assert eventually(lambda: other.leader("key") is None)


def test_other_candidate_stops_and_resigns_with_confirmation_inside_work(open_one: Open) -> None:
    """Work of one candidate delays no other candidate of the same store."""
    store = open_one()
    candidate = Candidate(store, "key", "a", ttl=3)
    confirmed: list[bool] = []

    def work(_term: Term) -> None:
        other = Candidate(store, "other key", "b", ttl=3)
        assert other.wait_elected(1)
        confirmed.append(other.resign(0))
        confirmed.append(other.stop())
        candidate.stop()

    candidate.lead(work)
    assert confirmed == [True, True]


def test_error_of_the_work_is_raised_after_the_release(open_one: Open) -> None:
    """The candidate is stopped, and the next one leads at once."""
    candidate = Candidate(open_one(), "key", "a", ttl=20)

    def work(_term: Term) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        candidate.lead(work)
    assert Candidate(open_one(), "key", "b", ttl=3).wait_elected(1)
    assert candidate.wait_elected(1) is None


def test_claim_is_kept_until_the_work_has_ended(open_one: Open) -> None:
    """No other candidate is elected while the work ends, however the term has ended."""
    candidate = Candidate(open_one(), "key", "a", ttl=20)
    second = Candidate(open_one(), "key", "b", ttl=20)
    said: list[bool] = []
    ended: list[float] = []
    working = threading.Event()

    def work(term: Term) -> None:
        working.set()
        second.run_for_election()
        said.append(candidate.resign())
        assert term.wait_lost(2)
        time.sleep(0.2)
        ended.append(time.monotonic())

    leader = threading.Thread(target=lambda: candidate.lead(work, cooldown=30))
    leader.start()
    assert working.wait(3)
    assert second.wait_elected(3)
    elected = time.monotonic()

    assert said == [False]  # it does not wait inside the work
    assert ended[0] <= elected < ended[0] + 0.2
    candidate.stop()
    leader.join(3)


def test_work_that_will_not_end_keeps_its_claim_to_the_deadline_at_most() -> None:
    """Then other candidates may lead; this one does not until its work has ended."""
    state = State()
    with FaultyStore(state).opened() as one, FaultyStore(state).opened() as two:
        candidate, second = Candidate(one, "key", "a", ttl=1.2), Candidate(two, "key", "b", ttl=3)
        working, enough = threading.Event(), threading.Event()

        def work(_term: Term) -> None:
            working.set()
            enough.wait(5)

        leader = threading.Thread(target=lambda: candidate.lead(work))
        leader.start()
        assert working.wait(3)
        term = candidate.term
        assert term is not None
        remaining = term.remaining()
        start = time.monotonic()
        candidate.stop(0)
        assert term.wait_lost(0.2)
        assert second.wait_elected(3)
        assert remaining - 0.05 < time.monotonic() - start < remaining + at_most(0.3)

        enough.set()
        leader.join(3)
        assert not leader.is_alive()


def test_work_that_outlives_the_store_keeps_its_claim() -> None:
    """`close` stops waiting for it, and leaves the claim to its ttl."""
    state = State()
    one, two = FaultyStore(state).opened(), FaultyStore(state).opened()
    candidate, second = Candidate(one, "key", "a", ttl=1.5), Candidate(two, "key", "b", ttl=3)
    working = threading.Event()
    ended: list[float] = []

    def work(_term: Term) -> None:
        working.set()
        time.sleep(0.8)
        ended.append(time.monotonic())

    leader = threading.Thread(target=lambda: candidate.lead(work))
    leader.start()
    working.wait(3)
    second.run_for_election()

    assert not one.close(0.1)
    assert second.wait_elected(4)
    assert ended
    assert ended[0] < time.monotonic()
    leader.join(3)
    two.close()


def test_work_that_outlives_its_term_keeps_the_session(faulty: FaultyStore, opened: Store) -> None:
    """The deadline is over and the ttl is not: until then no other candidate is elected."""
    candidate = Candidate(opened, "key", "a", ttl=1.8, margin=0.6)
    gone: list[bool] = []

    def work(term: Term) -> None:
        faulty.inject(Fault.UNAVAILABLE, "renew")
        assert term.wait_lost(3)
        time.sleep(0.2)
        gone.append(faulty.inner.get("key") is None)
        candidate.stop()

    candidate.lead(work)

    assert gone == [False]
    assert eventually(lambda: not faulty.alive(), 0.3)


def test_stop_in_work_whose_term_is_lost_does_not_wait_for_itself(
    faulty: FaultyStore, opened: Store
) -> None:
    """Otherwise the stop would wait for the work that called it."""
    candidate = Candidate(opened, "key", "a", ttl=20)

    def work(term: Term) -> None:
        faulty.inner.delete("key")
        assert term.wait_lost(2)
        time.sleep(0.05)
        start = time.monotonic()
        candidate.stop()
        assert time.monotonic() - start < at_most(0.5)

    candidate.lead(work)


def test_work_may_raise_the_loss_of_its_own_term(faulty: FaultyStore, opened: Store) -> None:
    """The next term follows; the loss of another candidate's term is an error."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    terms: list[Term] = []

    def work(term: Term) -> None:
        terms.append(term)
        if len(terms) == 1:
            faulty.inner.delete("key")
            term.wait_lost(2)
            term.check()
        terms[0].check()

    with pytest.raises(LeadershipLost):
        candidate.lead(work)
    assert len(terms) == 2


# -- the term -----------------------------------------------------------------------------------


def test_term_while_it_is_valid(store: Store) -> None:
    """It has time left, a fence, and no reason of its end."""
    candidate = Candidate(store, "a/key", "a", ttl=9)
    term = candidate.wait_elected(3)
    assert term is not None

    assert not term.lost
    assert 7.0 < term.remaining() <= 8.1
    term.check()
    assert not term.wait_lost(0.02)
    assert candidate.term is term
    assert term.fence == Fence("a/key", term.token)
    assert Fence.parse(str(term.fence)) == term.fence
    assert str(term.fence) == f"{term.token}:a/key"
    assert store.leader("a/key") is not None


def test_term_when_it_is_over(store: Store) -> None:
    """It has no time left, and `check` raises its reason."""
    candidate = Candidate(store, "key", "a", ttl=9)
    term = candidate.wait_elected(3)
    assert term is not None
    candidate.resign(30)

    assert term.lost
    assert term.remaining() == 0.0
    assert term.wait_lost(0)
    with pytest.raises(LeadershipLost, match=str(term.token)):
        term.check()
    with pytest.raises(LeadershipLost):
        term.ensure(1)
    assert term.fence.token == term.token


def test_ensure_renews_if_less_time_is_left(faulty: FaultyStore, opened: Store) -> None:
    """With more time left, no request is sent."""
    term = Candidate(opened, "key", "a", ttl=3).wait_elected(3)
    assert term is not None
    time.sleep(0.3)
    renewals = faulty.calls["renew"]
    term.ensure(2.0)
    assert faulty.calls["renew"] == renewals

    term.ensure(2.45)
    assert faulty.calls["renew"] == renewals + 1
    assert term.remaining() >= 2.4


def test_ensure_fails_while_the_store_is_down(faulty: FaultyStore, opened: Store) -> None:
    """The term is still valid, but not for that long."""
    term = Candidate(opened, "key", "a", ttl=3).wait_elected(3)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE, "renew")
    time.sleep(0.1)
    with pytest.raises(StoreUnavailable, match="are left"):
        term.ensure(2.45)

    assert not term.lost
    for never in (2.5, 99.0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError):
            term.ensure(never)


def test_ensure_respects_the_margin_of_the_user(store: Store) -> None:
    """The longest possible time is the ttl less the margin."""
    wide = Candidate(store, "wide", "a", ttl=3, margin=1).wait_elected(3)
    slim = Candidate(store, "slim", "a", ttl=3, margin=0.01).wait_elected(3)
    assert wide is not None
    assert slim is not None

    slim.ensure(2.9)
    with pytest.raises(ConfigurationError):
        wide.ensure(2.1)


def test_fenced_writes(store: Store) -> None:
    """They succeed in their own term only, and not in a later one of the same candidate."""
    candidate = Candidate(store, "key", "a", ttl=3)
    term = candidate.wait_elected(3)
    assert term is not None
    store.put("mine", b"1", fence=term)
    store.put("mine", b"1", fence=str(term.fence))
    store.put("mine", b"2", fence=term.fence)
    candidate.resign(0)
    assert candidate.wait_elected(3)

    with pytest.raises(Fenced):
        store.put("mine", b"3", fence=term)
    entry = store.get("mine")
    assert entry is not None
    assert entry.value == b"2"
    for wrong in ("", "7", ":key", "x:key", "-1:key", "7:", "9" * 5000 + ":key"):
        with pytest.raises(ConfigurationError):
            store.put("mine", b"4", fence=wrong)


def test_term_ends_with_the_clock_even_if_no_thread_runs(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first read of `is_leader` after a pause computes the answer from the clock alone."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    term = candidate.wait_elected(3)
    assert term is not None
    lease = term_state(term).lease
    with monkeypatch.context() as asleep:
        asleep.setattr(lease, "_clock", lambda: clock.now() + 10)  # as after a pause
        assert not candidate.is_leader

    assert not candidate.is_leader  # what one reader has seen is so for all
    assert candidate.term is None
    assert term.lost
    assert eventually(lambda: candidate.is_leader)


def test_fenced_write_needs_the_capability() -> None:
    """Without it the write is refused, because it would be unsafe."""
    state = State()
    with FaultyStore(state, without={Capability.FENCED_WRITES}).opened() as handle:
        term = Candidate(handle, "key", "a", ttl=3).wait_elected(3)
        assert term is not None
        with pytest.raises(ConfigurationError, match="no fenced writes"):
            handle.put("mine", b"1", fence=term)
    assert state.get("mine") is None
