"""Resigning, stopping and closing: from wherever, whenever, as often as one likes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Follower,
    LostReason,
    NotElected,
    Resigned,
    StoreClosed,
    StoreHandle,
    Term,
)
from leadership_core.internals import internals
from leadership_core.testing import History, check_history
from tests.core.conftest import Open
from tests.core.faulty import Fault, FaultyStore, eventually
from tests.support.machine import at_most


def took(action: Callable[[], object]) -> float:
    """How many seconds it takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def test_resign_lets_the_other_win(open_one: Open) -> None:
    """And when it returns True, the claim is gone."""
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


def test_resign_without_leading_is_false_at_once(store: StoreHandle) -> None:
    """Before the start, while resting, and after the end."""
    candidate = Candidate(store, "key", "a", ttl=3)
    assert not candidate.resign()
    candidate.wait_elected(3)
    assert candidate.resign(30)
    assert took(candidate.resign) < 0.1
    assert not candidate.resign()
    candidate.stop()
    assert not candidate.resign()


def test_cooldown_ends(store: StoreHandle) -> None:
    """Not before its time, and not much later."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    start = time.monotonic()
    candidate.resign(0.2)
    assert candidate.wait_elected(0.15) is None

    assert candidate.wait_elected(2)
    assert 0.2 <= time.monotonic() - start < at_most(0.5)


@pytest.mark.parametrize("cooldown", [-1, float("nan"), float("inf"), "1", None, True])
def test_wrong_cooldowns(store: StoreHandle, cooldown: float) -> None:
    """They are refused whether it leads or not."""
    with pytest.raises(ConfigurationError, match="cooldown"):
        Candidate(store, "key", "a", ttl=3).resign(cooldown)


def test_stop_from_everywhere_and_again(store: StoreHandle) -> None:
    """From the loop, from other threads, twice at once, before the start."""
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


def test_stopped_candidate_is_forgotten(store: StoreHandle) -> None:
    """A program may make a new one for every run, for years."""
    for _ in range(3):
        candidate = Candidate(store, "key", "a", ttl=3)
        assert candidate.wait_elected(3)
        candidate.stop()

    assert eventually(lambda: not internals(store).engine._members, 1)


def test_stop_while_entering_leaves_nothing(faulty: FaultyStore, opened: StoreHandle) -> None:
    """The claim that arrives after it is taken away again."""
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(opened, "key", "a", ttl=3)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"])
    assert not candidate.stop(0.05)
    faulty.heal()

    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_stop_beside_close_does_not_forget_a_claim_that_is_being_made(faulty: FaultyStore) -> None:
    """Nobody waits for its answer any more; it may stand all the same."""
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


def test_claim_that_is_being_made_goes_with_its_session(faulty: FaultyStore) -> None:
    """No answer comes; that the session has ended is confirmed, and that is enough."""
    store = faulty.opened()
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"])
    store.close(0.3)

    assert candidate.stop()
    faulty.heal()


def test_lease_that_ends_while_leaving_does_not_forget_a_claim_that_is_being_made(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """It has stopped; what the request has done is found out when the store is back."""
    faulty.inject(Fault.HANGS, "put_claim")
    candidate = Candidate(opened, "key", "a", ttl=3)
    story = candidate.events()
    assert eventually(lambda: faulty.calls["put_claim"])
    assert not candidate.stop(0)
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    internals(opened).engine.scheduler.post(
        lambda: next(iter(internals(opened).engine.sessions.all)).give_up(LostReason.EXPIRED)
    )
    assert [event.name for event in story][-1] == "stopped"

    assert not candidate.stop(0)
    faulty.heal()
    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_stop_returns_in_time_and_goes_on_in_the_background(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """It says that the store has not confirmed, and later that it has."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    values = candidate.run_for_election()
    candidate.wait_elected(3)
    faulty.inject(Fault.HANGS, "delete")

    assert took(lambda: candidate.stop(0.1)) < 0.4
    assert not candidate.is_leader
    assert faulty.inner.get("key") is not None
    faulty.heal()
    assert candidate.stop()
    assert faulty.inner.get("key") is None
    assert list(values) == [False]


def test_stop_does_not_promise_what_the_store_has_not_said(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The term expired in an outage: the claim may still stand, and does."""
    candidate = Candidate(opened, "key", "a", ttl=1.0)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE)
    assert term.wait_lost(2)
    assert faulty.inner.get("key") is not None

    assert not candidate.stop(0)


def test_session_that_could_not_be_closed_is_not_held_against_it_for_ever(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """What is left of an earlier term is asked about until the store has confirmed its end."""
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    internals(opened).engine.scheduler.post(
        lambda: next(iter(internals(opened).engine.sessions.all)).give_up(LostReason.EXPIRED)
    )
    assert eventually(lambda: candidate._candidacy._runner.left)
    faulty.heal()
    assert eventually(lambda: not candidate._candidacy._runner.left)

    assert candidate.stop()
    assert faulty.inner.get("key") is None


def test_work_that_outlives_its_session_leaves_nothing(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The session is closed in the end, although nobody has come back to do it."""
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
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The answer to a withdrawal was lost, and found out when the next term had begun."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    candidate.wait_elected(3)
    faulty.inject(Fault.REPLY_LOST, "delete", times=1)
    candidate.resign(0)
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.REQUEST_LOST, "delete")

    time.sleep(0.1)
    assert term._state.released is None
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


# -- leading ------------------------------------------------------------------------------------


def test_leading_stands_only_while_entered(store: StoreHandle) -> None:
    """Before and after it, nobody leads."""
    candidate = Candidate(store, "key", "a", ttl=3)
    tokens = []
    for _ in range(3):
        assert store.leader("key") is None
        with candidate.leading(3) as term:
            tokens.append(term.token)
            assert candidate.is_leader
        assert not candidate.is_leader
        assert term.lost

    assert store.leader("key") is None
    assert tokens == sorted(set(tokens))


def test_not_elected_in_time(open_one: Open) -> None:
    """It leaves the election, so that it does not win unnoticed; and it can be tried again."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    leader.wait_elected(3)
    candidate = Candidate(open_one(), "key", "b", ttl=3)
    with pytest.raises(NotElected, match="'b'"), candidate.leading(0.1):
        pass
    leader.stop()
    time.sleep(0.1)
    assert not candidate.is_leader

    with candidate.leading(3):
        pass


def test_story_of_one_who_came_back_unelected_is_sound(open_one: Open) -> None:
    """It campaigns once, however often it leaves and comes back before it is elected."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    leader.wait_elected(3)
    candidate = Candidate(open_one(), "key", "b", ttl=3)
    story = candidate.events()
    for _ in range(2):
        with pytest.raises(NotElected), candidate.leading(0.1):
            pass
    leader.stop()
    with candidate.leading(3):
        pass
    with candidate.leading(3):
        pass
    candidate.stop()

    history = History()
    for event in story:
        history.note("b", event)
    history.end("b")
    assert check_history(history) == []


def test_error_in_the_body_leaves_the_election(store: StoreHandle) -> None:
    """And comes through."""
    candidate = Candidate(store, "key", "a", ttl=3)
    with pytest.raises(KeyError), candidate.leading(3):
        raise KeyError("mine")

    assert store.leader("key") is None


# -- closing ------------------------------------------------------------------------------------


def test_close_stops_everybody(open_one: Open) -> None:
    """Candidates, followers and those who wait; the claims are gone when it returns."""
    store, other = open_one(), open_one()
    leading, waiting = (Candidate(store, "key", name, ttl=3) for name in "ab")
    leading.wait_elected(3)
    heard: list[object] = []
    readers = [
        threading.Thread(target=read)
        for read in (
            lambda: heard.append(list(leading.run_for_election())[-1]),
            lambda: heard.append(list(waiting.run_for_election())),
            lambda: heard.append(
                next(iter(list(Follower(store, "key").follow_election()))) is not None
            ),
            lambda: heard.append(waiting.wait_elected(20)),
            lambda: heard.append(Follower(store, "none").wait_leader(20)),
        )
    ]
    for one in readers:
        one.start()
    time.sleep(0.1)

    assert store.close()
    for one in readers:
        one.join(2)
        assert not one.is_alive()
    assert sorted(map(str, heard)) == ["False", "None", "None", "True", "[False]"]
    assert other.leader("key") is None


def test_everything_says_that_the_store_is_closed(store: StoreHandle) -> None:
    """Except what ends things: that works for ever."""
    candidate, idle = (Candidate(store, "key", name, ttl=20) for name in "ab")
    follower = Follower(store, "key")
    candidate.wait_elected(3)
    store.close()

    for call in (
        candidate.run_for_election, candidate.events, candidate.wait_elected, candidate.resign,
        lambda: candidate.lead(print), lambda: candidate.leading(1).__enter__(),
        follower.follow_election, follower.events, follower.wait_leader,
        lambda: Candidate(store, "key", "a"), lambda: Follower(store, "key"),
        lambda: store.get("key"), lambda: store.put("key", b""), lambda: store.delete("key"),
        lambda: store.list("key"), lambda: store.leader("key"), lambda: store.open_session(3),
        lambda: store.watch("key", print), store.__enter__,
    ):  # fmt: skip
        with pytest.raises(StoreClosed):
            call()
    assert not candidate.is_leader
    assert candidate.term is None
    for end in (candidate.stop, idle.stop, follower.stop, store.close):
        assert took(end) < 0.2
    assert idle.stop()


def test_nothing_starts_while_the_store_is_being_closed(faulty: FaultyStore) -> None:
    """A campaign that is begun in that moment ends, or was never begun."""
    store = faulty.opened()
    stuck = Candidate(store, "stuck", "a", ttl=3)
    stuck.wait_elected(3)
    faulty.inject(Fault.HANGS, "delete")
    late = Candidate(store, "late", "a", ttl=3)
    closing = threading.Thread(target=lambda: store.close(0.3))
    closing.start()
    try:
        assert eventually(lambda: store._closed)
        with pytest.raises(StoreClosed):
            late.run_for_election()
        with pytest.raises(StoreClosed):
            internals(store).engine.add(late._candidacy)
    finally:
        closing.join()
        faulty.heal()


def test_close_returns_although_the_store_hangs(faulty: FaultyStore) -> None:
    """It says that nothing is confirmed; iterators end; nobody believes."""
    store = faulty.opened()
    candidates = [Candidate(store, f"key{number}", "a", ttl=20) for number in range(5)]
    readers = [candidate.run_for_election() for candidate in candidates]
    follower = Follower(store, "key0").follow_election()
    for candidate in candidates:
        candidate.wait_elected(3)
    faulty.inject(Fault.HANGS)
    said: list[bool] = []

    assert took(lambda: said.append(store.close(0.4))) < 1.2
    assert said == [False]
    for candidate, values in zip(candidates, readers, strict=True):
        assert not candidate.is_leader
        assert list(values) == [False]
        assert not candidate.stop()
    assert list(follower) == []
    faulty.heal()


def test_belief_ends_before_stop_returns_even_if_it_does_not_wait(store: StoreHandle) -> None:
    """Who has just left must not find that it still leads."""
    for number in range(20):
        candidate = Candidate(store, f"key/{number}", "a", ttl=9)
        term = candidate.wait_elected(3)
        assert term is not None

        candidate.stop(0)

        assert not candidate.is_leader
        assert term.lost


def test_belief_ends_when_the_work_itself_resigns(store: StoreHandle) -> None:
    """A loop over `term.lost` does not go round once more after it."""
    candidate = Candidate(store, "key", "a", ttl=9)
    seen = []

    def work(term: Term) -> None:
        candidate.resign()
        seen.append(term.lost)
        candidate.stop()

    candidate.lead(work)

    assert seen == [True]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda store, wrong: Candidate(wrong, "key", "a"),
        lambda store, wrong: Follower(wrong, "key"),
        lambda store, wrong: Candidate(store, "key", "a", ttl=0.01),
        lambda store, wrong: Candidate(store, "key", "a").stop(wrong),
        lambda store, wrong: store.put("key", wrong),
        lambda store, wrong: store.put("key", b"bytes", fence=wrong),
    ],
)
def test_wrong_arguments_are_told_as_such(
    store: StoreHandle, mistake: Callable[[Any, Any], object]
) -> None:
    """By an error of ours that names what was wrong, not by one from the inside."""
    with pytest.raises(ConfigurationError):
        mistake(store, "memory://x")


@pytest.mark.parametrize("seconds", ["soon", -1, float("nan"), 9])
def test_ensure_refuses_what_cannot_be(store: StoreHandle, seconds: Any) -> None:
    """Text, less than nothing, no number, and as long as the ttl."""
    candidate = Candidate(store, "key", "a", ttl=9)
    term = candidate.wait_elected(3)
    assert term is not None

    with pytest.raises(ConfigurationError):
        term.ensure(seconds)
    candidate.stop()


def test_close_is_not_confirmed_while_a_session_may_stand(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The claim is gone, and that the session is, too, the store has not said."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    assert candidate.wait_elected(3)
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    assert candidate.stop()

    assert not opened.close(0.3)


@pytest.mark.parametrize("leave", [Candidate.resign, Candidate.stop])
def test_event_is_queued_when_belief_ends(
    opened: StoreHandle, leave: Callable[[Candidate], object]
) -> None:
    """In the same instant, also where the scheduler has something else to do first."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    story = candidate.events()
    term = candidate.wait_elected(5)
    assert term is not None
    queued: list[float] = []

    def read() -> None:
        for event in story:
            if isinstance(event, Resigned):
                queued.append(time.monotonic())
                return

    reader = threading.Thread(target=read)
    reader.start()
    internals(opened).engine.scheduler.post(lambda: time.sleep(0.15))
    leaver = threading.Thread(target=leave, args=(candidate,))
    leaver.start()
    assert term.wait_lost(5)
    ended = time.monotonic()
    reader.join(5)
    leaver.join(5)

    assert queued
    assert queued[0] - ended < 0.1
    candidate.stop()
