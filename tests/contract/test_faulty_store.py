"""The faults of `FaultyStore` on any backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from leadership_core import (
    Candidate,
    Capability,
    Entry,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.backend import ClaimOutcomeUnknown, DefaultElection, Election, Leading
from leadership_core.backend.deadline import call_timeout
from leadership_core.stores.memory import MemoryStore
from leadership_core.testing import CALLS, Fault, FaultyStore, WatchRecorder
from leadership_core.testing.faulty_election import FaultyElection


class OwnElections(MemoryStore):
    """A backend with elections of its own."""

    def election(self, key: str) -> Election:
        return _Own(super().election(key))


class _Own:
    def __init__(self, inner: Election) -> None:
        self.enter, self.status, self.watch_claim = inner.enter, inner.status, inner.watch_claim
        self.withdraw, self.leader = inner.withdraw, inner.leader
        self.watch_leader = inner.watch_leader


@pytest.fixture
def faulty() -> Iterator[FaultyStore]:
    """A store with the default election, whose faults the test injects."""
    store = FaultyStore(MemoryStore())
    yield store
    store.close()


@pytest.fixture
def own() -> Iterator[FaultyStore]:
    """A store with elections of its own, whose faults the test injects."""
    store = FaultyStore(OwnElections())
    yield store
    store.close()


def soon(condition: Callable[[], object]) -> bool:
    until = time.monotonic() + 3
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.003)
    return True


# -- faults of calls ---------------------------------------------------------------------------


def test_faulty_store_without_faults_is_the_store(faulty: FaultyStore) -> None:
    """All calls pass, and are counted."""
    entry = faulty.put("a/b", b"1")
    assert faulty.get("a/b") == entry
    assert faulty.list("a") == [entry]
    assert faulty.delete_tree("a") == 1
    assert faulty.delete("a/b") is False
    assert faulty.capabilities == MemoryStore.capabilities
    assert faulty.calls == {"put": 1, "get": 1, "list": 1, "delete_tree": 1, "delete": 1}


@pytest.mark.parametrize(
    ("fault", "error", "written"),
    [
        (Fault.UNAVAILABLE, StoreUnavailable, False),
        (Fault.REFUSED, StoreRefused, False),
        (Fault.REPLY_LOST, StoreUnavailable, True),
        (Fault.CRASHES, RuntimeError, False),
        (Fault.CRASHES_AFTER, RuntimeError, True),
    ],
)
def test_fault_fails_a_call_before_or_after_its_effect(
    faulty: FaultyStore, fault: Fault, error: type[Exception], *, written: bool
) -> None:
    """The caller cannot distinguish these two cases."""
    faulty.inject(fault, "put", times=1)
    with pytest.raises(error):
        faulty.put("a", b"1")
    assert (faulty.get("a") is not None) == written
    faulty.put("a", b"2")


def test_lost_request_takes_the_whole_timeout(faulty: FaultyStore) -> None:
    """The request has no effect."""
    faulty.inject(Fault.REQUEST_LOST, "put")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), call_timeout(0.1):
        faulty.put("a", b"1")
    assert time.monotonic() - begun >= 0.1
    assert faulty.get("a") is None


def test_late_request_takes_effect_after_its_call_failed(faulty: FaultyStore) -> None:
    """The caller gets an error before the request takes effect."""
    faulty.lateness = 0.05
    faulty.inject(Fault.LATE, "put", times=1)
    with pytest.raises(StoreUnavailable):
        faulty.put("a", b"1")
    assert faulty.get("a") is None
    assert soon(lambda: faulty.inner.get("a"))


def test_delayed_request_is_answered_late_or_never(faulty: FaultyStore) -> None:
    """That depends on the caller's timeout; the request takes effect in both cases."""
    faulty.lateness = 0.05
    faulty.inject(Fault.DELAYED, "put")
    begun = time.monotonic()
    faulty.put("a", b"1")
    assert time.monotonic() - begun >= 0.05
    with pytest.raises(StoreUnavailable), call_timeout(0.02):
        faulty.put("b", b"1")
    assert soon(lambda: faulty.inner.get("b"))


def test_duplicated_request_is_delivered_twice(faulty: FaultyStore) -> None:
    """The copy may arrive after writes of others."""
    faulty.lateness = 0.05
    faulty.inject(Fault.DUPLICATED, "put", times=1)
    first = faulty.put("a", b"1")
    faulty.put("a", b"2")

    def is_back() -> bool:
        entry = faulty.inner.get("a")
        return entry is not None and entry.value == b"1" and entry != first

    assert soon(is_back)


def test_expires_fault_ends_the_session_of_the_call(faulty: FaultyStore) -> None:
    """A call without a session ends all sessions."""
    one, two = faulty.open_session(30), faulty.open_session(30)
    faulty.inject(Fault.EXPIRES, "renew", times=1)
    with pytest.raises(SessionLost):
        one.renew()
    assert two.renew() == 30
    faulty.inject(Fault.EXPIRES, "get", times=1)
    assert faulty.get("a") is None
    with pytest.raises(SessionLost):
        two.renew()


def test_hanging_call_continues_after_heal(faulty: FaultyStore) -> None:
    """It takes effect after the fault is healed."""
    faulty.inject(Fault.HANGS, "put")
    writer = threading.Thread(target=faulty.put, args=["a", b"1"])
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    faulty.heal()
    writer.join(3)
    assert faulty.get("a") is not None


# -- which call ---------------------------------------------------------------------------------


def test_script_comes_before_other_faults(faulty: FaultyStore) -> None:
    """Its faults are used one by one."""
    faulty.script("get", None, Fault.UNAVAILABLE, Fault.REFUSED)
    assert faulty.get("a") is None
    for error in (StoreUnavailable, StoreRefused):
        with pytest.raises(error):
            faulty.get("a")
    assert faulty.get("a") is None


def test_shuffle_is_deterministic_for_a_seed() -> None:
    """Its faults are about as frequent as the given rate."""

    def outcomes(seed: int) -> list[bool]:
        faulty = FaultyStore(MemoryStore())
        faulty.shuffle(seed, 0.3, [Fault.UNAVAILABLE], ["get"])
        said = []
        for _ in range(200):
            try:
                faulty.get("a")
            except StoreUnavailable:
                said.append(True)
            else:
                said.append(False)
            faulty.put("a", b"never fails")
        return said

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert 30 < sum(outcomes(1)) < 90


def test_unknown_call_name_is_refused(faulty: FaultyStore) -> None:
    """A test with a mistyped name would inject nothing, and pass."""
    with pytest.raises(ValueError, match="acquire"):
        faulty.inject(Fault.HANGS, "acquire")
    assert {"get", "enter", "watch_leader"} <= CALLS.keys()


# -- watches ------------------------------------------------------------------------------------


def test_watch_is_cut_off_and_catches_up(faulty: FaultyStore) -> None:
    """It reports the outage, is silent, and reports the last state afterwards."""
    reported = list[object]()
    watch = faulty.watch("a", reported.append)
    first = faulty.put("a", b"1")
    faulty.inject(Fault.UNAVAILABLE)
    second = faulty.inner.put("a", b"2")
    third = faulty.inner.put("a", b"3")
    assert reported[:2] == [None, first]
    assert isinstance(reported[2], StoreUnavailable)
    faulty.heal()
    assert reported[3:] == [third]
    assert second not in reported
    watch.close()
    faulty.put("a", b"4")
    assert reported[3:] == [third]


def test_watch_catches_up_after_the_last_fault(faulty: FaultyStore) -> None:
    """It reports the present state as after `heal`, even if it has not changed."""
    recorders = WatchRecorder()
    faulty.watch("a", recorders)
    faulty.inject(Fault.UNAVAILABLE, times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            faulty.get("a")
    assert recorders.states == [None, None]


def test_watch_that_failed_to_start_is_closed(faulty: FaultyStore) -> None:
    """The caller gets no object to close, whatever happened to the request."""
    reported = list[object]()
    for fault in (Fault.UNAVAILABLE, Fault.REPLY_LOST):
        faulty.inject(fault, "watch", times=1)
        with pytest.raises(StoreUnavailable):
            faulty.watch("a", reported.append)
    reported.clear()
    faulty.put("a", b"1")
    assert reported == []


# -- elections ----------------------------------------------------------------------------------


def test_default_election_meets_the_faults_of_reads_and_writes(faulty: FaultyStore) -> None:
    """The core's default election runs above the faults."""
    race = faulty.election("key")
    assert isinstance(race, DefaultElection)
    assert faulty.election("key") is race
    claim = race.enter(faulty.open_session(30), b"a")
    assert claim.granted
    assert faulty.calls["put_claim"] == 1
    assert "enter" not in faulty.calls


def test_own_election_meets_faults_by_its_own_calls(own: FaultyStore) -> None:
    """All calls from enter to watch_leader do."""
    race, session, recorders = own.election("key"), own.open_session(30), WatchRecorder()
    assert isinstance(race, FaultyElection)
    watch = race.watch_leader(recorders)
    claim = race.enter(session, b"a")
    assert claim.session is session
    assert claim.token is not None
    woken = threading.Event()
    turn = race.watch_claim(claim, woken.set)
    assert race.status(claim) == Leading(claim.token)
    assert recorders.last(lambda leader: leader is not None)
    assert race.leader() is not None
    race.withdraw(claim)
    assert claim.settled
    assert recorders.last_is(None)
    assert woken.is_set()
    for call in ("enter", "watch_claim", "status", "leader", "withdraw", "watch_leader"):
        assert own.calls[call] == 1, call
        own.inject(Fault.UNAVAILABLE, call)
    with pytest.raises(ClaimOutcomeUnknown):
        race.enter(session, b"a")
    for fails in (race.leader, lambda: race.status(claim), lambda: race.withdraw(claim)):
        with pytest.raises(StoreUnavailable):
            fails()
    turn.close()
    watch.close()


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.LATE, Fault.REQUEST_LOST])
def test_enter_without_an_answer_raises_claim_outcome_unknown(
    own: FaultyStore, fault: Fault
) -> None:
    """The claim is not settled until a withdrawal has reached it, or its session has ended."""
    own.lateness = 0.05
    race, session = own.election("key"), own.open_session(30)
    own.inject(fault, "enter", times=1)
    with pytest.raises(ClaimOutcomeUnknown) as unknown, call_timeout(0.02):
        race.enter(session, b"a")
    claim = unknown.value.claim
    assert not claim.settled
    assert (claim.token, claim.granted) == (None, False)
    if fault is Fault.LATE:
        race.withdraw(claim)
        assert not claim.settled
        assert soon(lambda: own.inner.get("key"))
    race.withdraw(claim)
    assert own.inner.get("key") is None
    assert claim.settled == (fault is not Fault.REQUEST_LOST)


def test_claim_watch_is_woken_after_an_outage(own: FaultyStore) -> None:
    """A change during the outage is queried, not guessed."""
    race, session = own.election("key"), own.open_session(30)
    claim, woken = race.enter(session, b"a"), threading.Event()
    race.watch_claim(claim, woken.set)
    woken.clear()
    own.inject(Fault.UNAVAILABLE)
    own.inner.delete("key")
    assert not woken.is_set()
    own.heal()
    assert woken.is_set()


def test_candidate_recovers_from_every_fault_of_an_own_election(own: FaultyStore) -> None:
    """The engine resolves unknown outcomes, and leaves no claim behind."""
    own.lateness = 0.05
    with own.opened() as store:
        for fault in (Fault.REPLY_LOST, Fault.LATE, Fault.CRASHES_AFTER, Fault.EXPIRES):
            candidate = Candidate(store, "key", "a", ttl=1)
            own.inject(fault, "enter", times=1)
            assert candidate.wait_elected(5), fault
            own.inject(fault, "withdraw", times=1)
            candidate.stop(5)
            assert soon(lambda: own.inner.get("key") is None), fault


def test_faulty_store_hides_capabilities_and_sets_a_margin() -> None:
    """`without` and `least_margin` replace what the backend declares."""
    faulty = FaultyStore(MemoryStore(), without={Capability.GLOBAL_REVISION}, least_margin=0.4)
    assert Capability.GLOBAL_REVISION not in faulty.capabilities
    assert faulty.least_margin == 0.4
    claim = faulty.election("key").enter(faulty.open_session(30), b"a")
    assert isinstance(faulty.get("key/.epoch"), Entry)
    assert claim.token == 1
    faulty.close()
