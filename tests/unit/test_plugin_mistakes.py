"""Mistakes of plugins, and failures that must cause no hot loop."""

from __future__ import annotations

import threading
import time
from functools import partial
from math import inf, nan
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    Elected,
    PluginError,
    Store,
    StoreDown,
)
from leadership_core.backend import clock
from leadership_core.engine.store_base import internals
from leadership_core.stores.memory import State
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultySession, FaultyStore, elected

TTL = 1.2  # a leader leads until 0.8 s after the last renewal
CALLS = ["open_session", "renew", "close_session", "get", "put_claim", "delete", "watch"]


@pytest.mark.parametrize("fault", [Fault.CRASHES, Fault.CRASHES_AFTER])
@pytest.mark.parametrize("call", CALLS)
def test_mistake_of_a_plugin_is_an_outage(call: str, fault: Fault) -> None:
    """Any call may raise any error: afterwards there is a leader, and no orphaned claim."""
    state = State()
    wrong = FaultyStore(state)
    with wrong.opened() as one, FaultyStore(state).opened() as two:
        first, second = Candidate(one, "key", "a", ttl=0.9), Candidate(two, "key", "b", ttl=0.9)
        wrong.inject(fault, call, times=2)
        first.run_for_election()
        second.run_for_election()
        assert eventually(lambda: first.is_leader or second.is_leader)
        for _ in range(2):
            (first if first.is_leader else second).resign(0)
            assert eventually(lambda: first.is_leader or second.is_leader)
            assert not (first.is_leader and second.is_leader)
        wrong.heal()
        first.stop()
        assert eventually(lambda: second.is_leader)
        second.stop()
    assert eventually(lambda: state.get("key") is None, 1.5)


def test_invalid_granted_ttl_is_reported_and_ignored(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid number is an outage of this session; all other sessions go on."""
    nonsense: list[Any] = ["soon", None, 0.0, -1.0, inf, -inf, nan, 10**400]
    granted = {TTL + 0.01 * number: odd for number, odd in enumerate(nonsense)}
    renew = FaultySession.renew
    monkeypatch.setattr(
        FaultySession, "renew", lambda one: granted[one.ttl] if one.ttl in granted else renew(one)
    )
    other, endless = Candidate(opened, "other", "a", ttl=2), Candidate(opened, "long", "a", ttl=3)
    elected(other)
    candidates = {Candidate(opened, f"key{ttl}", "a", ttl=ttl): ttl for ttl in granted}
    stories = {candidate: candidate.events() for candidate in candidates}
    for stream in stories.values():
        assert "ttl" in str(next(one for one in stream if isinstance(one, StoreDown)).error)
    granted[3] = 1e300  # a number: the candidate leads, and the engine's threads go on
    elected(endless)
    time.sleep(1.5 * TTL)  # sessions that were never acknowledged are given up in that time
    assert other.is_leader
    assert endless.is_leader
    assert not any(candidate.is_leader for candidate in candidates)

    granted.clear()
    for candidate in candidates:
        elected(candidate)


@pytest.mark.parametrize("seconds", [inf, nan, -1.0, 1e300, "soon"])
def test_candidate_leaves_despite_invalid_expiry_of_the_store(
    seconds: float, faulty: FaultyStore, opened: Store
) -> None:
    """Only the plugin knows how long a session without renewals lasts."""
    faulty.expires_within = lambda ttl: seconds  # type: ignore[method-assign]  # a stand-in for this test
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    elected(candidate)
    assert candidate.stop()
    assert eventually(lambda: not faulty.alive())


@pytest.mark.parametrize("margin", [inf, nan, -1.0, "wide"])
def test_invalid_least_margin_is_a_plugin_error(margin: float) -> None:
    """It is raised when the store is opened."""
    with pytest.raises(PluginError, match="margin"):
        FaultyStore(least_margin=margin).opened()


@pytest.mark.parametrize("seconds", [inf, nan, -1.0, 0.0, 1.0, "soon", None])
def test_invalid_expires_within_is_a_plugin_error(
    seconds: float, faulty: FaultyStore, opened: Store
) -> None:
    """It is raised at opening and by `expires_within`; less than the ttl is invalid, too."""
    faulty.expires_within = lambda ttl: seconds  # type: ignore[method-assign]  # a stand-in for this test

    with pytest.raises(PluginError, match="it must be a number of seconds, the ttl or more"):
        opened.expires_within(15)
    with pytest.raises(PluginError, match="it must be a number of seconds, the ttl or more"):
        faulty.opened()


class Cancelled(BaseException):
    """Not an `Exception`, like the cancellation of asyncio."""


def test_any_error_of_a_plugin_is_an_outage(faulty: FaultyStore, opened: Store) -> None:
    """Also a `BaseException`, because otherwise the candidate would get no answer."""
    put, raised = faulty.put, iter([True, True])

    def cancelled(*args: Any, **how: Any) -> Any:
        if next(raised, False):
            raise Cancelled
        return put(*args, **how)

    faulty.put = cancelled  # type: ignore[method-assign]  # a stand-in for this test
    elected(Candidate(opened, "key", "a", ttl=TTL))


def test_scheduler_survives_any_exception(opened: Store, caplog: pytest.LogCaptureFixture) -> None:
    """All elections of a store run in it."""
    scheduler = internals(opened).engine.scheduler

    def fail(error: BaseException) -> None:
        raise error

    for error in (ValueError("one"), SystemExit(2), Cancelled("three")):
        scheduler.post(partial(fail, error))
        scheduler.call_at(clock.now(), partial(fail, error))
    with pytest.raises(ValueError, match="time"):
        scheduler.call_at(nan, lambda: None)
    for when in (-inf, inf, 1e300):
        scheduler.call_at(when, lambda: None)
    ran = threading.Event()
    scheduler.call_at(clock.now() + 0.05, ran.set)
    assert ran.wait(2)
    assert sum(one.message == "engine.task_failed" for one in caplog.records) >= 6


# -- no hot loops -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.CRASHES])
@pytest.mark.parametrize("call", ["*", *CALLS])
def test_faults_cause_no_hot_loop(call: str, fault: Fault) -> None:
    """Any call may fail at once without end, for a leader and for a waiting candidate."""
    state = State()
    wrong = FaultyStore(state)
    other = FaultyStore(state)
    with wrong.opened() as one, other.opened() as two:
        candidates = [Candidate(one, name, "a", ttl=3) for name in ("mine", "key", "new")]
        elected(Candidate(two, "key", "b", ttl=3))
        elected(candidates[0])
        candidates[1].run_for_election()
        wrong.inject(fault, *([] if call == "*" else [call]))
        candidates[2].run_for_election()
        time.sleep(0.1)
        before = wrong.calls.total()
        time.sleep(0.3)
        sent = wrong.calls.total() - before
        wrong.heal()

    assert sent < 40


def test_constant_wakes_cause_no_hot_loop(faulty: FaultyStore, opened: Store) -> None:
    """A watch may fire without a reason, for a leader and for a waiting candidate."""
    enough = threading.Event()
    watch = faulty.watch

    def wild(key: str, on_change: object, *, tree: bool = False) -> object:
        def fire() -> None:
            while not enough.wait(0.0005):
                on_change(None)  # type: ignore[operator]

        threading.Thread(target=fire, daemon=True).start()
        return watch(key, on_change, tree=tree)  # type: ignore[arg-type]

    faulty.watch = wild  # type: ignore[method-assign, assignment]  # a stand-in for this test
    candidates = [Candidate(opened, "key", name, ttl=3) for name in "ab"]
    elected(candidates[0])
    candidates[1].run_for_election()
    time.sleep(0.8)
    before = faulty.calls["get"]
    time.sleep(0.5)
    asked = faulty.calls["get"] - before
    candidates[0].resign(30)
    elected(candidates[1])
    enough.set()

    assert 2 < asked < 50


def _delete(store: FaultyStore, entry: object) -> None:
    if entry:
        store.inner.delete("key")


def test_losing_every_term_at_once_causes_no_hot_loop(faulty: FaultyStore, opened: Store) -> None:
    """Another program deletes the key whenever it is created."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    stream = candidate.events()
    watch = faulty.inner.watch("key", lambda entry: _delete(faulty, entry))
    candidate.run_for_election()
    time.sleep(1.0)
    watch.close()
    elected(candidate)
    candidate.stop()

    assert sum(isinstance(event, Elected) for event in stream) < 30
    assert faulty.calls.total() < 300
