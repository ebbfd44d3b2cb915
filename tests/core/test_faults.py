"""What goes wrong between a candidate and its store, and what it makes of it."""

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
    StoreDown,
    StoreHandle,
    StoreRefused,
    Term,
    clock,
)
from leadership_core.internals import internals
from leadership_core.memory import State
from tests.core.faulty import Fault, FaultySession, FaultyStore, eventually

TTL = 1.2  # belief ends 0.8 s after the last renewal


def elected(candidate: Candidate) -> Term:
    """Wait until it leads."""
    term = candidate.wait_elected(5)
    assert term is not None
    return term


def names_until(story: Iterator[Event], last: str) -> list[str]:
    """The events by name, up to the first of that name."""
    names: list[str] = []
    while not names or names[-1] != last:
        names.append(next(story).name)
    return names


# -- the store is away --------------------------------------------------------------------------


def test_short_outage_costs_nothing(faulty: FaultyStore, opened: StoreHandle) -> None:
    """It is said, and ridden out."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    story = candidate.events()
    term = elected(candidate)
    faulty.inject(Fault.UNAVAILABLE)
    told = names_until(story, "suspended")
    faulty.heal()
    told += names_until(story, "resumed")
    if told.count("store_down") > told.count("store_up"):
        told += names_until(story, "store_up")
    candidate.stop()

    assert [name for name in told if not name.startswith("store")][:4] == [
        "campaigning", "elected", "suspended", "resumed",
    ]  # fmt: skip
    assert told.index("store_down") < told.index("store_up")
    assert candidate._tenure.last is not None
    assert candidate._tenure.last.term is term


def test_long_outage_ends_the_term_in_time_and_nothing_else(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """It leads again when the store is back, without a restart of anything."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    story = candidate.events()
    term = elected(candidate)
    end = time.monotonic() + term.remaining()
    faulty.inject(Fault.UNAVAILABLE)
    assert term.wait_lost(2)
    assert time.monotonic() < end + TTL / 3 + 0.1
    time.sleep(0.5)
    assert not candidate.is_leader
    faulty.heal()

    again = elected(candidate)
    assert again.token > term.token
    candidate.stop()
    assert [event for event in story if isinstance(event, Lost)] == [Lost(LostReason.EXPIRED)]


def test_renewal_that_is_lost_is_sent_again_in_time(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """It may take a third of the ttl, so that there is time for another one."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    for _ in range(2):
        faulty.inject(Fault.REQUEST_LOST, "renew", times=1)
        time.sleep(TTL * 0.7)
        assert candidate.term is term


def test_hanging_renewal_does_not_hold_up_the_end(faulty: FaultyStore, opened: StoreHandle) -> None:
    """The deadline has a timer of its own; the others on that session go on with a new one."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=TTL) for number in range(3)]
    stories = [candidate.events() for candidate in candidates]
    terms = [elected(candidate) for candidate in candidates]
    end = time.monotonic() + max(term.remaining() for term in terms)
    faulty.inject(Fault.HANGS, "renew", times=1)

    for story in stories:
        names_until(story, "lost")
    assert time.monotonic() < end + TTL / 3 + 0.2
    for candidate, term in zip(candidates, terms, strict=True):
        assert elected(candidate).token > term.token
    assert eventually(lambda: len(faulty.sessions) == 2 or len(faulty.alive()) == 1)


def test_lost_replies_do_not_keep_the_claim_for_ever() -> None:
    """Renewals arrive, their answers do not: belief ends, and the key gets free for others."""
    state = State()
    cut, fine = FaultyStore(state), FaultyStore(state)
    with cut.opened() as one, fine.opened() as two:
        first, second = Candidate(one, "key", "a", ttl=TTL), Candidate(two, "key", "b", ttl=TTL)
        term = elected(first)
        second.run_for_election()
        cut.inject(Fault.REPLY_LOST)
        believed_until = 0.0
        until = time.monotonic() + 4 * TTL
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
    faulty: FaultyStore, opened: StoreHandle, fault: Fault
) -> None:
    """It was written, so it leads, on that session."""
    faulty.inject(fault, "put_claim", times=1)
    elected(Candidate(opened, "key", "a", ttl=3))

    assert len(faulty.sessions) == 1


def test_enter_that_arrives_late_is_found_and_removed(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Its session looks again as long as others use it; the key goes on with another session."""
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


def test_late_enter_is_never_adopted(faulty: FaultyStore, opened: StoreHandle) -> None:
    """The claim of a candidate that has stopped goes, although its session lives on."""
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


def test_lost_answer_to_a_withdrawal(faulty: FaultyStore, opened: StoreHandle) -> None:
    """The claim is looked after until the store confirms, and `resign` waits for that."""
    other = Candidate(opened, "other", "a", ttl=3)
    elected(other)
    candidate = Candidate(opened, "key", "a", ttl=3)
    elected(candidate)
    faulty.inject(Fault.UNAVAILABLE, "delete", times=3)

    assert candidate.resign(30)
    assert faulty.inner.get("key") is None
    assert other.is_leader


def test_claim_that_cannot_be_withdrawn_costs_its_session(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Renewals succeed and the withdrawal does not: after one ttl the key gets free anyway."""
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
def test_operator_ends_a_term_at_once(
    store: StoreHandle, reason: LostReason, operate: object
) -> None:
    """Within a notification, with the reason; the next term has a larger token."""
    assert callable(operate)
    candidate = Candidate(store, "key", "a", ttl=60)
    story = candidate.events()
    term = elected(candidate)
    operate(store)

    assert term.wait_lost(0.5)
    assert elected(candidate).token > term.token
    candidate.stop()
    assert [event for event in story if isinstance(event, Lost)] == [Lost(reason)]


def test_session_that_is_ended_while_it_is_opened(faulty: FaultyStore, opened: StoreHandle) -> None:
    """The candidate opens another one."""
    opening, tries = faulty.open_session, 0

    def ended(ttl: float) -> FaultySession:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise SessionLost("an operator was faster")
        return opening(ttl)

    faulty.open_session = ended  # type: ignore[method-assign]
    candidate = Candidate(opened, "key", "a", ttl=3)

    elected(candidate)
    assert candidate.stop()


# -- what a person must mend --------------------------------------------------------------------


def test_refused_ttl_ends_the_candidate(faulty: FaultyStore, opened: StoreHandle) -> None:
    """All who wait for it get the error of the store, and later ones, too."""

    def refuse(_ttl: float) -> None:
        raise ConfigurationError("a ttl must be between 10 and 86400 s")

    faulty.open_session = refuse  # type: ignore[method-assign, assignment]
    candidate = Candidate(opened, "key", "a", ttl=3)
    values, story = candidate.run_for_election(), candidate.events()
    assert next(values) is False
    for read in (
        lambda: next(values),
        lambda: list(story),
        candidate.wait_elected,
        lambda: candidate.leading().__enter__(),
        lambda: candidate.lead(print),
        lambda: list(candidate.run_for_election()),
    ):
        with pytest.raises(ConfigurationError, match="86400"):
            read()
    assert candidate.stop()


def test_permission_denied_from_the_start(faulty: FaultyStore, opened: StoreHandle) -> None:
    """A store that has never worked will not begin to."""
    faulty.inject(Fault.REFUSED)
    with pytest.raises(StoreRefused, match="denied"):
        Candidate(opened, "key", "a", ttl=3).wait_elected(5)
    with pytest.raises(StoreRefused):
        list(Follower(opened, "key").follow_election())


def test_permission_denied_later_is_an_outage(faulty: FaultyStore, opened: StoreHandle) -> None:
    """It has worked, so it is tried for ever."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    faulty.inject(Fault.REFUSED)
    assert term.wait_lost(3)
    time.sleep(0.3)
    faulty.heal()

    assert elected(candidate).token > term.token


def test_shorter_grant_is_adopted_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    """With one warning; and with an error where the store's margin does not fit any more."""
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
    """Whichever call raises whatever: when it is over, somebody leads, and nothing is left."""
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


def test_renewal_that_grants_nonsense_is_told_and_not_believed(
    opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ttl that is none is an outage of this session; all the others go on."""
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
    for story in stories.values():
        assert "ttl" in str(next(one for one in story if isinstance(one, StoreDown)).error)
    granted[3] = 1e300  # a number: it leads, and whoever looks after it lives
    elected(endless)
    time.sleep(1.5 * TTL)  # sessions that were never acknowledged are given up in that time
    assert other.is_leader
    assert endless.is_leader
    assert not any(candidate.is_leader for candidate in candidates)

    granted.clear()
    for candidate in candidates:
        elected(candidate)


@pytest.mark.parametrize("seconds", [inf, nan, -1.0, 1e300, "soon"])
def test_store_that_says_nonsense_about_an_end_is_left_all_the_same(
    seconds: float, faulty: FaultyStore, opened: StoreHandle
) -> None:
    """How long a silent session lasts is the plugin's word."""
    faulty.expires_within = lambda ttl: seconds  # type: ignore[method-assign]
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    elected(candidate)
    assert candidate.stop()
    assert eventually(lambda: not faulty.alive())


@pytest.mark.parametrize("margin", [inf, nan, -1.0, "wide"])
def test_least_margin_that_is_none_is_a_broken_plugin(margin: float) -> None:
    """Said when it is opened."""
    with pytest.raises(PluginError, match="margin"):
        FaultyStore(least_margin=margin).opened()


@pytest.mark.parametrize("seconds", [inf, nan, -1.0, 0.0, 1.0, "soon", None])
def test_nonsense_about_the_end_of_a_session_is_a_broken_plugin(
    seconds: float, faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Said when it is opened, and to whoever asks; also where it is less than the ttl."""
    faulty.expires_within = lambda ttl: seconds  # type: ignore[method-assign]

    with pytest.raises(PluginError, match="which must be a number of seconds, at least the ttl"):
        opened.expires_within(15)
    with pytest.raises(PluginError, match="which must be a number of seconds, at least the ttl"):
        faulty.opened()


class Cancelled(BaseException):
    """As asyncio has one: no `Exception`."""


def test_whatever_a_plugin_raises_is_an_outage(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Even what is no `Exception`: nobody would answer the candidate otherwise."""
    put, raised = faulty.put, iter([True, True])

    def cancelled(*args: Any, **how: Any) -> Any:
        if next(raised, False):
            raise Cancelled
        return put(*args, **how)

    faulty.put = cancelled  # type: ignore[method-assign]
    elected(Candidate(opened, "key", "a", ttl=TTL))


def test_nothing_that_is_raised_ends_the_scheduler(
    opened: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """All elections of a store live in it."""
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
def test_no_fault_is_answered_with_a_hot_loop(call: str, fault: Fault) -> None:
    """Whichever call fails at once, for ever, for a leader and for one who waits."""
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


def test_wild_wakes_are_no_hot_loop(faulty: FaultyStore, opened: StoreHandle) -> None:
    """A watch that fires without a reason, for a leader and for one who waits."""
    enough = threading.Event()
    watch = faulty.watch

    def wild(key: str, on_change: object, *, tree: bool = False) -> object:
        def fire() -> None:
            while not enough.wait(0.0005):
                on_change(None)  # type: ignore[operator]

        threading.Thread(target=fire, daemon=True).start()
        return watch(key, on_change, tree=tree)  # type: ignore[arg-type]

    faulty.watch = wild  # type: ignore[method-assign, assignment]
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


def test_losing_every_term_at_once_is_no_hot_loop(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Somebody deletes the key whenever it appears."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    story = candidate.events()
    watch = faulty.inner.watch("key", lambda entry: _delete(faulty, entry))
    candidate.run_for_election()
    time.sleep(1.0)
    watch.close()
    elected(candidate)
    candidate.stop()

    assert sum(isinstance(event, Elected) for event in story) < 30
    assert faulty.calls.total() < 300
