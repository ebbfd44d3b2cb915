"""`leading` blocks, and the close of a store."""

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
    NotElected,
    Resigned,
    Store,
    StoreClosed,
    Term,
)
from leadership_core.engine.store_base import internals
from leadership_core.testing import History, check_history
from tests.support.internals import candidate_control
from tests.support.waiting import at_most, eventually, took
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore

# -- leading ------------------------------------------------------------------------------------


def test_leading_campaigns_only_while_entered(store: Store) -> None:
    """There is no leader before and after the block."""
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
    """The candidate leaves the election, so it does not win unnoticed; it can try again."""
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


def test_events_after_a_return_without_election_are_complete(open_one: Open) -> None:
    """It reports one campaign, however often it leaves and enters before it is elected."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    leader.wait_elected(3)
    candidate = Candidate(open_one(), "key", "b", ttl=3)
    stream = candidate.events()
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
    for event in stream:
        history.observe("b", event)
    history.end("b")
    assert check_history(history) == []


def test_error_in_the_body_leaves_the_election(store: Store) -> None:
    """The error is raised unchanged."""
    candidate = Candidate(store, "key", "a", ttl=3)
    with pytest.raises(KeyError), candidate.leading(3):
        raise KeyError("mine")

    assert store.leader("key") is None


# -- closing ------------------------------------------------------------------------------------


def test_close_stops_all_candidates_and_followers(open_one: Open) -> None:
    """Waiting calls end, too, and the claims are gone when it returns."""
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


def test_all_calls_raise_store_closed_after_close(store: Store) -> None:
    """Calls that end something still work."""
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
        assert took(end) < at_most(0.2)
    assert idle.stop()


def test_nothing_starts_while_the_store_is_being_closed(faulty: FaultyStore) -> None:
    """A campaign that begins at that moment either ends or never begins."""
    store = faulty.opened()
    stuck = Candidate(store, "stuck", "a", ttl=3)
    stuck.wait_elected(3)
    faulty.inject(Fault.HANGS, "delete")
    late = Candidate(store, "late", "a", ttl=3)
    closing = threading.Thread(target=lambda: store.close(0.3))
    closing.start()
    try:
        assert eventually(lambda: internals(store).closing)
        with pytest.raises(StoreClosed):
            late.run_for_election()
        with pytest.raises(StoreClosed):
            internals(store).engine.add(candidate_control(late))
    finally:
        closing.join()
        faulty.heal()


def test_close_returns_although_the_store_hangs(faulty: FaultyStore) -> None:
    """It confirms nothing; iterators end, and no candidate is leader."""
    store = faulty.opened()
    candidates = [Candidate(store, f"key{number}", "a", ttl=20) for number in range(5)]
    readers = [candidate.run_for_election() for candidate in candidates]
    follower = Follower(store, "key0").follow_election()
    for candidate in candidates:
        candidate.wait_elected(3)
    faulty.inject(Fault.HANGS)
    said: list[bool] = []

    assert took(lambda: said.append(store.close(0.4))) < at_most(1.2)
    assert said == [False]
    for candidate, values in zip(candidates, readers, strict=True):
        assert not candidate.is_leader
        assert list(values) == [False]
        assert not candidate.stop()
    assert list(follower) == []
    faulty.heal()


def test_term_ends_before_stop_returns_without_waiting(store: Store) -> None:
    """A candidate that has just left is not leader."""
    for number in range(20):
        candidate = Candidate(store, f"key/{number}", "a", ttl=9)
        term = candidate.wait_elected(3)
        assert term is not None

        candidate.stop(0)

        assert not candidate.is_leader
        assert term.lost


def test_term_ends_when_the_work_itself_resigns(store: Store) -> None:
    """A loop over `term.lost` in the work ends at once."""
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
def test_wrong_arguments_raise_configuration_errors(
    store: Store, mistake: Callable[[Any, Any], object]
) -> None:
    """The error names the argument, and does not come from the inside."""
    with pytest.raises(ConfigurationError):
        mistake(store, "memory://x")


@pytest.mark.parametrize("seconds", ["soon", -1, float("nan"), 9])
def test_ensure_rejects_invalid_seconds(store: Store, seconds: Any) -> None:
    """They are a text, negative, not a number, or as long as the ttl."""
    candidate = Candidate(store, "key", "a", ttl=9)
    term = candidate.wait_elected(3)
    assert term is not None

    with pytest.raises(ConfigurationError):
        term.ensure(seconds)
    candidate.stop()


def test_close_is_not_confirmed_while_a_session_may_live(
    faulty: FaultyStore, opened: Store
) -> None:
    """The claim is gone, but the store has not confirmed the end of the session."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    assert candidate.wait_elected(3)
    faulty.inject(Fault.UNAVAILABLE, "close_session")
    assert candidate.stop()

    assert not opened.close(0.3)


@pytest.mark.parametrize("leave", [Candidate.resign, Candidate.stop])
def test_event_is_queued_when_the_term_ends(
    opened: Store, leave: Callable[[Candidate], object]
) -> None:
    """It is queued at once, even while the scheduler is busy."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    stream = candidate.events()
    term = candidate.wait_elected(5)
    assert term is not None
    queued: list[float] = []

    def read() -> None:
        for event in stream:
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
