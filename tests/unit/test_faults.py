"""Faults between a candidate and its store, and how the candidate reacts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from math import inf, nan
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Elected,
    Event,
    Follower,
    Lost,
    LostReason,
    PluginError,
    SessionLost,
    Store,
    StoreDown,
    StoreRefused,
    Term,
)
from leadership_core.backend import clock
from leadership_core.engine.open_store import internals
from leadership_core.stores.memory import State
from tests.support.internals import candidate_control
from tests.support.waiting import at_most, eventually
from tests.unit.faulty import Fault, FaultySession, FaultyStore

TTL = 1.2  # belief ends 0.8 s after the last renewal


def elected(candidate: Candidate) -> Term:
    """Wait until the candidate leads."""
    term = candidate.wait_elected(5)
    assert term is not None
    return term


def names_until(stream: Iterator[Event], last: str) -> list[str]:
    """Return the names of the events, up to the first of that name."""
    names: list[str] = []
    while not names or names[-1] != last:
        names.append(next(stream).name)
    return names


# -- the store is away --------------------------------------------------------------------------


def test_short_outage_costs_nothing(faulty: FaultyStore, opened: Store) -> None:
    """The outage is reported, and the term goes on."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    stream = candidate.events()
    term = elected(candidate)
    faulty.inject(Fault.UNAVAILABLE)
    told = names_until(stream, "suspended")
    faulty.heal()
    told += names_until(stream, "resumed")
    if told.count("store_down") > told.count("store_up"):
        told += names_until(stream, "store_up")
    candidate.stop()

    assert [name for name in told if not name.startswith("store")][:4] == [
        "campaigning", "elected", "suspended", "resumed",
    ]  # fmt: skip
    assert told.index("store_down") < told.index("store_up")
    last = candidate_control(candidate).state.last
    assert last is not None
    assert last.term is term


def test_long_outage_ends_the_term_in_time_and_nothing_else(
    faulty: FaultyStore, opened: Store
) -> None:
    """The candidate leads again when the store is back, without a restart."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    stream = candidate.events()
    term = elected(candidate)
    end = time.monotonic() + term.remaining()
    faulty.inject(Fault.UNAVAILABLE)
    assert term.wait_lost(2)
    assert time.monotonic() < end + TTL / 3 + at_most(0.1)
    time.sleep(0.5)
    assert not candidate.is_leader
    faulty.heal()

    again = elected(candidate)
    assert again.token > term.token
    candidate.stop()
    assert [event for event in stream if isinstance(event, Lost)] == [Lost(LostReason.EXPIRED)]


def test_lost_renewal_is_retried_in_time(faulty: FaultyStore, opened: Store) -> None:
    """A renewal may take a third of the ttl, which leaves time for another try."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    for _ in range(2):
        faulty.inject(Fault.REQUEST_LOST, "renew", times=1)
        time.sleep(TTL * 0.7)
        assert candidate.term is term


def test_hanging_renewal_does_not_delay_the_end_of_the_term(
    faulty: FaultyStore, opened: Store
) -> None:
    """The deadline has its own timer; other candidates of that session go on with a new one."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=TTL) for number in range(3)]
    stories = [candidate.events() for candidate in candidates]
    terms = [elected(candidate) for candidate in candidates]
    end = time.monotonic() + max(term.remaining() for term in terms)
    faulty.inject(Fault.HANGS, "renew", times=1)

    for stream in stories:
        names_until(stream, "lost")
    assert time.monotonic() < end + TTL / 3 + at_most(0.2)
    for candidate, term in zip(candidates, terms, strict=True):
        assert elected(candidate).token > term.token
    assert eventually(lambda: len(faulty.sessions) == 2 or len(faulty.alive()) == 1)


def test_claim_expires_when_only_replies_are_lost() -> None:
    """Renewals arrive but their answers do not: the term ends, and later the key is free."""
    state = State()
    cut, fine = FaultyStore(state), FaultyStore(state)
    with cut.opened() as one, fine.opened() as two:
        first, second = Candidate(one, "key", "a", ttl=TTL), Candidate(two, "key", "b", ttl=TTL)
        term = elected(first)
        second.run_for_election()
        cut.inject(Fault.REPLY_LOST)
        believed_until = 0.0
        until = time.monotonic() + at_most(4 * TTL)
        while not second.is_leader:
            if first.is_leader:
                believed_until = time.monotonic()
            assert time.monotonic() < until
        assert not first.is_leader
        assert believed_until < time.monotonic()
        assert term.lost

        cut.heal()
        second.resign(30)
        assert elected(first).token > term.token


# -- answers that are lost ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.CRASHES_AFTER])
def test_lost_answer_to_an_enter_is_read_back(
    faulty: FaultyStore, opened: Store, fault: Fault
) -> None:
    """The claim was written, so the candidate leads, with the same session."""
    faulty.inject(fault, "put_claim", times=1)
    elected(Candidate(opened, "key", "a", ttl=3))

    assert len(faulty.sessions) == 1


def test_late_enter_is_found_and_removed(faulty: FaultyStore, opened: Store) -> None:
    """The old session serves other candidates; the key is entered again with a new one."""
    other = Candidate(opened, "other", "a", ttl=TTL)
    elected(other)
    faulty.inject(Fault.LATE, "put_claim", times=1)
    candidate = Candidate(opened, "key", "a", ttl=TTL)

    term = elected(candidate)
    assert term.lost is False or candidate.wait_elected(3)
    assert eventually(lambda: len(faulty.alive()) == 2)
    entry = faulty.inner.get("key")
    assert entry is not None
    assert eventually(lambda: candidate.is_leader)
    candidate.stop()
    assert eventually(lambda: faulty.inner.get("key") is None, 2 * TTL)
    assert other.is_leader


def test_late_enter_is_never_adopted(faulty: FaultyStore, opened: Store) -> None:
    """The claim of a stopped candidate is removed although its session lives on."""
    other = Candidate(opened, "other", "a", ttl=TTL)
    elected(other)
    faulty.inject(Fault.LATE, "put_claim", times=1)
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"] >= 2)
    candidate.stop(0)

    assert candidate.stop(3 * TTL) or faulty.inner.get("key") is None
    time.sleep(0.3)
    assert eventually(lambda: faulty.inner.get("key") is None, 2 * TTL)
    assert other.is_leader


def test_lost_answer_to_a_withdrawal(faulty: FaultyStore, opened: Store) -> None:
    """`resign` waits until the claim reaper has removed the claim."""
    other = Candidate(opened, "other", "a", ttl=3)
    elected(other)
    candidate = Candidate(opened, "key", "a", ttl=3)
    elected(candidate)
    faulty.inject(Fault.UNAVAILABLE, "delete", times=3)

    assert candidate.resign(30)
    assert faulty.inner.get("key") is None
    assert other.is_leader


def test_claim_that_cannot_be_withdrawn_ends_with_its_session(
    faulty: FaultyStore, opened: Store
) -> None:
    """Renewals succeed and the withdrawal fails: the key is free after one ttl."""
    other = Candidate(opened, "other", "a", ttl=0.6)
    elected(other)
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    elected(candidate)
    faulty.inject(Fault.UNAVAILABLE, "delete")
    candidate.stop(0)

    assert eventually(lambda: faulty.inner.get("key") is None, 4)
    assert candidate.stop()
    elected(other)


# -- operators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "operate"),
    [
        (LostReason.DELETED, lambda store: store.delete("key")),
        (LostReason.OVERWRITTEN, lambda store: store.put("key", b"by hand")),
    ],
)
def test_operator_ends_a_term_at_once(store: Store, reason: LostReason, operate: object) -> None:
    """One notification ends it, with the reason; the next term has a larger token."""
    assert callable(operate)
    candidate = Candidate(store, "key", "a", ttl=60)
    stream = candidate.events()
    term = elected(candidate)
    operate(store)

    assert term.wait_lost(0.5)
    assert elected(candidate).token > term.token
    candidate.stop()
    assert [event for event in stream if isinstance(event, Lost)] == [Lost(reason)]


def test_session_that_is_ended_while_it_is_opened(faulty: FaultyStore, opened: Store) -> None:
    """The candidate opens another session."""
    opening, tries = faulty.open_session, 0

    def ended(ttl: float) -> FaultySession:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise SessionLost("an operator was faster")
        return opening(ttl)

    faulty.open_session = ended  # type: ignore[method-assign]  # a stand-in for this test
    candidate = Candidate(opened, "key", "a", ttl=3)

    elected(candidate)
    assert candidate.stop()


# -- lasting errors ------------------------------------------------------------------------------


def test_refused_ttl_ends_the_candidate(faulty: FaultyStore, opened: Store) -> None:
    """All waiting and later calls raise the store's error."""

    def refuse(_ttl: float) -> None:
        raise ConfigurationError("a ttl must be between 10 and 86400 s")

    faulty.open_session = refuse  # type: ignore[method-assign, assignment]  # a stand-in for this test
    candidate = Candidate(opened, "key", "a", ttl=3)
    values, stream = candidate.run_for_election(), candidate.events()
    assert next(values) is False
    for read in (
        lambda: next(values),
        lambda: list(stream),
        candidate.wait_elected,
        lambda: candidate.leading().__enter__(),
        lambda: candidate.lead(print),
        lambda: list(candidate.run_for_election()),
    ):
        with pytest.raises(ConfigurationError, match="86400"):
            read()
    assert candidate.stop()


def test_permission_denied_at_the_start_ends_the_candidate(
    faulty: FaultyStore, opened: Store
) -> None:
    """A retry cannot help at a store that has never worked."""
    faulty.inject(Fault.REFUSED)
    with pytest.raises(StoreRefused, match="denied"):
        Candidate(opened, "key", "a", ttl=3).wait_elected(5)
    with pytest.raises(StoreRefused):
        list(Follower(opened, "key").follow_election())


def test_permission_denied_later_is_an_outage(faulty: FaultyStore, opened: Store) -> None:
    """The store has worked before, so the request is retried without end."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    faulty.inject(Fault.REFUSED)
    assert term.wait_lost(3)
    time.sleep(0.3)
    faulty.heal()

    assert elected(candidate).token > term.token


def test_shorter_grant_is_adopted_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    """There is one warning, or an error if the store's margin does not fit the granted ttl."""
    store = FaultyStore(least_margin=0.5)
    store.granted = 2.0
    with store.opened() as handle:
        term = elected(Candidate(handle, "key", "a", ttl=30))
        assert 1.0 < term.remaining() <= 1.5
        time.sleep(0.8)
        assert sum("granted" in record.message for record in caplog.records) == 1
    with pytest.raises(ConfigurationError), FaultyStore(least_margin=0.5).opened() as handle:
        Candidate(handle, "key", "a", ttl=1.2)
    tight = FaultyStore(least_margin=0.5)
    tight.granted = 1.2
    with tight.opened() as handle, pytest.raises(ConfigurationError, match=r"at least 1\.5 s"):
        Candidate(handle, "key", "a", ttl=30).wait_elected(3)


# -- mistakes of plugins ------------------------------------------------------------------------

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
