"""Resigning, stopping and closing, in each state and repeatedly."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    LostReason,
    Store,
    Term,
)
from leadership_core.engine.store_base import internals
from tests.support.internals import candidate_control, term_state
from tests.support.waiting import at_most, eventually, took
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore


def test_resign_lets_the_other_win(open_one: Open) -> None:
    """When it returns True, the claim is gone."""
    first, second = (Candidate(open_one(), "key", name, ttl=3) for name in "ab")
    before = first.wait_elected(3)
    second.run_for_election()
    assert before is not None

    assert first.resign(cooldown=10)
    assert not first.is_leader
    assert first.term is None
    assert before.lost
    term = second.wait_elected(1)
    assert term is not None
    assert term.token > before.token


def test_resign_without_leading_is_false_at_once(store: Store) -> None:
    """It is called before the start, during the cooldown, and after the end."""
    candidate = Candidate(store, "key", "a", ttl=3)
    assert not candidate.resign()
    candidate.wait_elected(3)
    assert candidate.resign(30)
    assert took(candidate.resign) < at_most(0.1)
    assert not candidate.resign()
    candidate.stop()
    assert not candidate.resign()


def test_cooldown_ends(store: Store) -> None:
    """It ends neither early nor much later."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    start = time.monotonic()
    candidate.resign(0.2)
    assert candidate.wait_elected(0.15) is None

    assert candidate.wait_elected(2)
    assert 0.2 <= time.monotonic() - start < at_most(0.5)


@pytest.mark.parametrize("cooldown", [-1, float("nan"), float("inf"), "1", None, True])
def test_invalid_cooldown_is_refused(store: Store, cooldown: float) -> None:
    """It is refused whether the candidate leads or not."""
    with pytest.raises(ConfigurationError, match="cooldown"):
        Candidate(store, "key", "a", ttl=3).resign(cooldown)


def test_stop_works_from_any_thread_and_repeatedly(store: Store) -> None:
    """It is called in the loop, in other threads, twice at once, and before the start."""
    candidate = Candidate(store, "key", "a", ttl=3)
    said: list[bool] = []
    others: list[threading.Thread] = []
    for elected in candidate.run_for_election():
        if elected:
            others = [
                threading.Thread(target=lambda: said.append(candidate.stop())) for _ in range(4)
            ]
            for one in others:
                one.start()
            said.append(candidate.stop())
    for one in others:
        one.join(3)

    assert said == [True] * 5
    assert candidate.stop()
    assert store.leader("key") is None
    assert Candidate(store, "key", "b", ttl=3).stop()


def test_stopped_candidate_is_forgotten(store: Store) -> None:
    """A program that makes a candidate for each run does not grow."""
    for _ in range(3):
        candidate = Candidate(store, "key", "a", ttl=3)
        assert candidate.wait_elected(3)
        candidate.stop()

    assert eventually(lambda: internals(store).has_left(), 1)


def test_stop_while_entering_leaves_nothing(faulty: FaultyStore, opened: Store) -> None:
    """A claim that arrives after the stop is withdrawn."""
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(opened, "key", "a", ttl=3)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"])
    assert not candidate.stop(0.05)
    faulty.heal()

    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_stop_during_close_is_unconfirmed_while_entering(faulty: FaultyStore) -> None:
    """The answer is not awaited any more, and the claim may exist."""
    store = faulty.opened()
    faulty.inject(Fault.HANGS, "put_claim")
    faulty.inject(Fault.HANGS, "close_session")
    candidate = Candidate(store, "key", "a", ttl=3)
    values = candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"])

    assert not store.close(0.3)
    assert list(values) == [False]
    assert not candidate.stop()
    faulty.heal()


def test_unanswered_claim_ends_with_its_session(faulty: FaultyStore) -> None:
    """The stop is confirmed by the end of the session, without an answer to the enter."""
    store = faulty.opened()
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"])
    store.close(0.3)

    assert candidate.stop()
    faulty.heal()


def test_lease_end_while_leaving_keeps_the_unanswered_claim(
    faulty: FaultyStore, opened: Store
) -> None:
    """The candidate has stopped; the claim is looked up when the store is back."""
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(opened, "key", "a", ttl=3)
    stream = candidate.events()
    assert eventually(lambda: faulty.calls["put_claim"])
    assert not candidate.stop(0)
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    internals(opened).engine.scheduler.post(
        lambda: next(iter(internals(opened).engine.sessions.all)).expire(LostReason.EXPIRED)
    )
    assert [event.name for event in stream][-1] == "stopped"

    assert not candidate.stop(0)
    faulty.heal()
    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_stop_returns_in_time_and_goes_on_in_the_background(
    faulty: FaultyStore, opened: Store
) -> None:
    """It returns False without a confirmation, and True when it is called again later."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    values = candidate.run_for_election()
    candidate.wait_elected(3)
    faulty.inject(Fault.HANGS, "delete")

    assert took(lambda: candidate.stop(0.1)) < at_most(0.4)
    assert not candidate.is_leader
    assert faulty.inner.get("key") is not None
    faulty.heal()
    assert candidate.stop()
    assert faulty.inner.get("key") is None
    assert list(values) == [False]


def test_stop_is_false_without_confirmation_of_the_store(
    faulty: FaultyStore, opened: Store
) -> None:
    """The term expired in an outage, and the claim may still exist."""
    candidate = Candidate(opened, "key", "a", ttl=1.0)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE)
    assert term.wait_lost(2)
    assert faulty.inner.get("key") is not None

    assert not candidate.stop(0)


def test_stop_is_confirmed_once_an_unclosed_session_has_ended(
    faulty: FaultyStore, opened: Store
) -> None:
    """The session of an earlier term is queried until the store has confirmed its end."""
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    internals(opened).engine.scheduler.post(
        lambda: next(iter(internals(opened).engine.sessions.all)).expire(LostReason.EXPIRED)
    )
    assert eventually(lambda: candidate_control(candidate).debug_state().unconfirmed_claims)
    faulty.heal()
    assert eventually(lambda: not candidate_control(candidate).debug_state().unconfirmed_claims)

    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_work_that_outlives_its_session_leaves_nothing(faulty: FaultyStore, opened: Store) -> None:
    """The session is closed when the work has ended, without another call of the program."""
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    working, enough = threading.Event(), threading.Event()

    def work(_: Term) -> None:
        working.set()
        enough.wait(10)

    worker = threading.Thread(target=candidate.lead, args=(work,))
    worker.start()
    assert working.wait(3)
    faulty.inject(Fault.UNAVAILABLE)
    assert eventually(lambda: not candidate.is_leader)
    faulty.heal()
    (leased,) = internals(opened).engine.sessions.all
    assert eventually(leased.closed.is_set)
    stopped: list[bool] = []
    stopper = threading.Thread(target=lambda: stopped.append(candidate.stop(5)))
    stopper.start()
    enough.set()
    stopper.join()
    worker.join()

    assert stopped == [True]


def test_release_of_one_term_is_not_taken_for_that_of_the_next(
    faulty: FaultyStore, opened: Store
) -> None:
    """The answer to a withdrawal was lost, and known only after the next term had begun."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    candidate.wait_elected(3)
    faulty.inject(Fault.REPLY_LOST, "delete", times=1)
    candidate.resign(0)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.REQUEST_LOST, "delete")

    time.sleep(0.1)
    assert term_state(term).released is None
    resigned = threading.Thread(target=lambda: said.append(candidate.resign(30)))
    said: list[bool] = []
    resigned.start()
    time.sleep(0.1)
    assert said == []
    assert faulty.inner.get("key") is not None
    faulty.heal()
    resigned.join(3)
    assert said == [True]
    assert faulty.inner.get("key") is None
