"""The threads that withdraw claims, and sessions that are closed in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from leadership_core import (
    Candidate,
    LeadershipLost,
    Store,
)
from leadership_core.backend import Claim
from leadership_core.engine import engine
from leadership_core.engine.engine import Engine
from leadership_core.engine.store_base import internals
from tests.support.waiting import eventually
from tests.unit.faulty import FaultySession, FaultyStore


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
