"""Resigning, stopping and closing, in each state and repeatedly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Follower,
    LeadershipLost,
    LostReason,
    NotElected,
    Resigned,
    Store,
    StoreClosed,
    Term,
)
from leadership_core.backend import Claim
from leadership_core.engine import engine
from leadership_core.engine.engine import Engine
from leadership_core.engine.open_store import internals
from leadership_core.testing import History, check_history
from tests.support.internals import candidate_control, term_state
from tests.support.waiting import at_most, eventually
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultySession, FaultyStore


def took(action: Callable[[], object]) -> float:
    """Return the seconds that the call takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


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


def test_many_candidates_that_leave_are_withdrawn_by_several_threads(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three withdrawals are under way at a time, so that the last one does not wait for all others."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=30) for number in range(12)]
    for candidate in candidates:
        candidate.run_for_election()
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))
    three, withdrawn = threading.Barrier(3), list[tuple[str, str]]()

    def slowly(key: str, withdraw: Callable[[Claim], object], claim: Claim) -> None:
        three.wait(20)  # raises, and is called again, if fewer are under way
        withdrawn.append((key, threading.current_thread().name))
        withdraw(claim)

    for number in range(12):
        election = internals(opened).engine.election(key := f"key/{number}")
        monkeypatch.setattr(election, "withdraw", partial(slowly, key, election.withdraw))
    state = faulty.inner.state
    opened.close()
    assert sorted(key for key, _ in withdrawn) == sorted(f"key/{number}" for number in range(12))
    assert {name for _, name in withdrawn} == {f"leadership-release-{n}" for n in (1, 2, 3)}
    assert not state.debug_state().sessions


def rounds_of_closing(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Let engines that close look every 20 ms for sessions to close; returns them, once for each look."""
    rounds, look = list[Engine](), Engine._close_left_sessions

    def noted(self: Engine) -> None:
        look(self)
        rounds.append(self)

    monkeypatch.setattr(Engine, "_close_left_sessions", noted)
    monkeypatch.setattr(engine, "_LEAVING_SECONDS", 0.02)
    return rounds


@pytest.mark.parametrize("delays", [False, True])
def test_session_is_closed_where_withdrawals_of_all_its_claims_take_long(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch, delays: bool
) -> None:
    """One request releases the claims that wait, if the store lets others have them at once."""
    monkeypatch.setattr(FaultySession, "closing_delays_others", delays)
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=30) for number in range(12)]
    for candidate in candidates:
        candidate.run_for_election()
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))
    state, goes_on, withdrawn = faulty.inner.state, threading.Event(), list[str]()

    def slowly(key: str, withdraw: Callable[[Claim], object], claim: Claim) -> None:
        goes_on.wait(20)
        withdrawn.append(key)
        withdraw(claim)

    for number in range(12):
        election = internals(opened).engine.election(key := f"key/{number}")
        monkeypatch.setattr(election, "withdraw", partial(slowly, key, election.withdraw))
    said, resigned, rounds = list[bool](), list[bool](), rounds_of_closing(monkeypatch)
    resigning = threading.Thread(target=lambda: resigned.append(candidates[-1].resign()))
    resigning.start()
    assert eventually(lambda: not candidates[-1].is_leader)
    closing = threading.Thread(target=lambda: said.append(opened.close(20)))
    closing.start()
    if delays:
        assert eventually(lambda: len(rounds) >= 3, 10)
        assert state.debug_state().sessions
        goes_on.set()
    else:
        assert eventually(lambda: not state.debug_state().sessions, 10)
        assert faulty.calls["close_session"] == 1
        assert eventually(lambda: all(not one.is_leader for one in candidates))
        goes_on.set()
    closing.join(20)
    resigning.join(20)
    assert said == resigned == [True]
    assert len(withdrawn) == 12 if delays else len(withdrawn) <= 3
    assert not state.debug_state().sessions


def test_session_is_not_closed_while_work_of_one_of_its_terms_goes_on(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claims of the others are withdrawn meanwhile."""
    monkeypatch.setattr(engine, "_RELEASE_THREADS", 0)  # as if many were left
    rounds = rounds_of_closing(monkeypatch)
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=30) for number in range(12)]
    for candidate in candidates:
        candidate.run_for_election()
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))
    state, goes_on = faulty.inner.state, threading.Event()

    def work() -> None:
        with suppress(LeadershipLost), candidates[5].working():
            begun.set()
            goes_on.wait(20)

    begun = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(5)
    internals(opened).begin_close()
    assert eventually(lambda: len(faulty.inner.list("")) == 1, 5)
    before = len(rounds)
    assert eventually(lambda: len(rounds) >= before + 3, 5)
    assert [entry.key for entry in faulty.inner.list("")] == ["key/5"]
    goes_on.set()
    worker.join(5)
    assert opened.close(5)
    assert not state.debug_state().sessions


def test_candidates_that_leave_one_after_the_other_need_one_release_thread(opened: Store) -> None:
    """The others are started only where withdrawals wait."""
    before = {thread.ident for thread in threading.enumerate()}
    for number in range(5):
        candidate = Candidate(opened, f"key/{number}", "a", ttl=30)
        assert candidate.wait_elected(5)
        assert candidate.stop()
    names = [one.name for one in threading.enumerate() if one.ident not in before]
    assert [name for name in names if "release" in name] == ["leadership-release-1"]


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
