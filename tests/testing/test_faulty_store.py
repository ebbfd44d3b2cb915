"""The faults of a `FaultyStore`: each does what it says, around any backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from leadership_core import (
    Candidate,
    Capability,
    ClaimUnknown,
    DefaultElection,
    Election,
    Entry,
    Leading,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.budget import budget
from leadership_core.memory import MemoryStore
from leadership_core.testing import CALLS, Fault, FaultyStore, Heard
from leadership_core.testing.faulty_election import FaultyElection


class OwnElections(MemoryStore):
    """A backend that brings elections of its own, as far as anybody can tell."""

    def election(self, key: str) -> Election:
        return _Own(super().election(key))


class _Own:
    def __init__(self, inner: Election) -> None:
        self.enter, self.standing, self.on_turn = inner.enter, inner.standing, inner.on_turn
        self.withdraw, self.leader = inner.withdraw, inner.leader
        self.watch_leader = inner.watch_leader


@pytest.fixture
def faulty() -> Iterator[FaultyStore]:
    """A store with faults to come, and elections made of reads and writes."""
    store = FaultyStore(MemoryStore())
    yield store
    store.close()


@pytest.fixture
def own() -> Iterator[FaultyStore]:
    """One whose backend has its own elections."""
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


# -- what becomes of a call ---------------------------------------------------------------------


def test_without_faults_it_is_the_store(faulty: FaultyStore) -> None:
    """All calls go through, and are counted."""
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
def test_a_call_fails_before_or_after_it_took_effect(
    faulty: FaultyStore, fault: Fault, error: type[Exception], *, written: bool
) -> None:
    """Which is what the caller cannot know."""
    faulty.inject(fault, "put", times=1)
    with pytest.raises(error):
        faulty.put("a", b"1")
    assert (faulty.get("a") is not None) == written
    faulty.put("a", b"2")


def test_a_lost_request_takes_all_the_time_there_is(faulty: FaultyStore) -> None:
    """And nothing arrives."""
    faulty.inject(Fault.REQUEST_LOST, "put")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), budget(0.1):
        faulty.put("a", b"1")
    assert time.monotonic() - begun >= 0.1
    assert faulty.get("a") is None


def test_a_late_request_arrives_when_nobody_waits(faulty: FaultyStore) -> None:
    """It is refused at first, as far as its sender knows."""
    faulty.lateness = 0.05
    faulty.inject(Fault.LATE, "put", times=1)
    with pytest.raises(StoreUnavailable):
        faulty.put("a", b"1")
    assert faulty.get("a") is None
    assert soon(lambda: faulty.inner.get("a"))


def test_a_delayed_request_is_answered_late_or_never(faulty: FaultyStore) -> None:
    """It depends on how long its sender may wait; it arrives in both cases."""
    faulty.lateness = 0.05
    faulty.inject(Fault.DELAYED, "put")
    begun = time.monotonic()
    faulty.put("a", b"1")
    assert time.monotonic() - begun >= 0.05
    with pytest.raises(StoreUnavailable), budget(0.02):
        faulty.put("b", b"1")
    assert soon(lambda: faulty.inner.get("b"))


def test_a_request_is_delivered_twice(faulty: FaultyStore) -> None:
    """The copy comes after others have written, too."""
    faulty.lateness = 0.05
    faulty.inject(Fault.DUPLICATED, "put", times=1)
    first = faulty.put("a", b"1")
    faulty.put("a", b"2")

    def is_back() -> bool:
        entry = faulty.inner.get("a")
        return entry is not None and entry.value == b"1" and entry != first

    assert soon(is_back)


def test_a_session_expires_behind_its_owner(faulty: FaultyStore) -> None:
    """Only that one, where the call is about one; all of them, where it is not."""
    one, two = faulty.open_session(30), faulty.open_session(30)
    faulty.inject(Fault.EXPIRES, "renew", times=1)
    with pytest.raises(SessionLost):
        one.renew()
    assert two.renew() == 30
    faulty.inject(Fault.EXPIRES, "get", times=1)
    assert faulty.get("a") is None
    with pytest.raises(SessionLost):
        two.renew()


def test_what_hangs_goes_on_when_all_is_healed(faulty: FaultyStore) -> None:
    """It takes effect then."""
    faulty.inject(Fault.HANGS, "put")
    writer = threading.Thread(target=faulty.put, args=["a", b"1"])
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    faulty.heal()
    writer.join(3)
    assert faulty.get("a") is not None


# -- which call ---------------------------------------------------------------------------------


def test_a_script_is_played_call_by_call(faulty: FaultyStore) -> None:
    """Before anything that holds for all calls."""
    faulty.script("get", None, Fault.UNAVAILABLE, Fault.REFUSED)
    assert faulty.get("a") is None
    for error in (StoreUnavailable, StoreRefused):
        with pytest.raises(error):
            faulty.get("a")
    assert faulty.get("a") is None


def test_chance_is_the_same_for_the_same_seed() -> None:
    """And about as frequent as was asked for."""

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


def test_a_call_that_does_not_exist_is_a_mistake(faulty: FaultyStore) -> None:
    """A test that injects nothing would pass."""
    with pytest.raises(ValueError, match="acquire"):
        faulty.inject(Fault.HANGS, "acquire")
    assert {"get", "enter", "watch_leader"} <= CALLS.keys()


# -- watches ------------------------------------------------------------------------------------


def test_a_watch_is_cut_off_and_catches_up(faulty: FaultyStore) -> None:
    """It says that the store is away, is silent, and ends with the last state."""
    told = list[object]()
    watch = faulty.watch("a", told.append)
    first = faulty.put("a", b"1")
    faulty.inject(Fault.UNAVAILABLE)
    second = faulty.inner.put("a", b"2")
    third = faulty.inner.put("a", b"3")
    assert told[:2] == [None, first]
    assert isinstance(told[2], StoreUnavailable)
    faulty.heal()
    assert told[3:] == [third]
    assert second not in told
    watch.close()
    faulty.put("a", b"4")
    assert told[3:] == [third]


def test_a_watch_catches_up_when_the_number_of_faults_is_spent(faulty: FaultyStore) -> None:
    """As after `heal`, and also if nothing has changed meanwhile."""
    heard = Heard()
    faulty.watch("a", heard)
    faulty.inject(Fault.UNAVAILABLE, times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            faulty.get("a")
    assert heard.states == [None, None]


def test_a_watch_that_failed_to_be_armed_is_none(faulty: FaultyStore) -> None:
    """Whatever became of the request: nobody could close it."""
    told = list[object]()
    for fault in (Fault.UNAVAILABLE, Fault.REPLY_LOST):
        faulty.inject(fault, "watch", times=1)
        with pytest.raises(StoreUnavailable):
            faulty.watch("a", told.append)
    told.clear()
    faulty.put("a", b"1")
    assert told == []


# -- elections ----------------------------------------------------------------------------------


def test_elections_made_of_reads_and_writes_meet_the_faults_of_those(faulty: FaultyStore) -> None:
    """The core's default election runs above the faults."""
    race = faulty.election("key")
    assert isinstance(race, DefaultElection)
    assert faulty.election("key") is race
    claim = race.enter(faulty.open_session(30), b"a")
    assert claim.granted
    assert faulty.calls["put_claim"] == 1
    assert "enter" not in faulty.calls


def test_an_election_of_the_backend_meets_faults_by_its_own_calls(own: FaultyStore) -> None:
    """From enter to watch_leader."""
    race, session, heard = own.election("key"), own.open_session(30), Heard()
    assert isinstance(race, FaultyElection)
    watch = race.watch_leader(heard)
    claim = race.enter(session, b"a")
    assert claim.session is session
    assert claim.token is not None
    woken = threading.Event()
    turn = race.on_turn(claim, woken.set)
    assert race.standing(claim) == Leading(claim.token)
    assert heard.last(lambda leader: leader is not None)
    assert race.leader() is not None
    race.withdraw(claim)
    assert claim.settled
    assert heard.last_is(None)
    assert woken.is_set()
    for call in ("enter", "on_turn", "standing", "leader", "withdraw", "watch_leader"):
        assert own.calls[call] == 1, call
        own.inject(Fault.UNAVAILABLE, call)
    with pytest.raises(ClaimUnknown):
        race.enter(session, b"a")
    for fails in (race.leader, lambda: race.standing(claim), lambda: race.withdraw(claim)):
        with pytest.raises(StoreUnavailable):
            fails()
    turn.close()
    watch.close()


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.LATE, Fault.REQUEST_LOST])
def test_an_enter_without_an_answer_is_an_unknown_claim(own: FaultyStore, fault: Fault) -> None:
    """It is not settled until a withdrawal has met it, or its session is gone."""
    own.lateness = 0.05
    race, session = own.election("key"), own.open_session(30)
    own.inject(fault, "enter", times=1)
    with pytest.raises(ClaimUnknown) as unknown, budget(0.02):
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


def test_a_turn_is_woken_when_an_outage_is_over(own: FaultyStore) -> None:
    """What happened meanwhile is asked for, and not guessed."""
    race, session = own.election("key"), own.open_session(30)
    claim, woken = race.enter(session, b"a"), threading.Event()
    race.on_turn(claim, woken.set)
    woken.clear()
    own.inject(Fault.UNAVAILABLE)
    own.inner.delete("key")
    assert not woken.is_set()
    own.heal()
    assert woken.is_set()


def test_candidates_come_through_whatever_meets_their_own_election(own: FaultyStore) -> None:
    """The engine resolves what is unknown, and leaves nothing behind."""
    own.lateness = 0.05
    with own.opened() as store:
        for fault in (Fault.REPLY_LOST, Fault.LATE, Fault.CRASHES_AFTER, Fault.EXPIRES):
            candidate = Candidate(store, "key", "a", ttl=1)
            own.inject(fault, "enter", times=1)
            assert candidate.wait_elected(5), fault
            own.inject(fault, "withdraw", times=1)
            candidate.stop(5)
            assert soon(lambda: own.inner.get("key") is None), fault


def test_capabilities_can_be_hidden() -> None:
    """And a margin can be had."""
    faulty = FaultyStore(MemoryStore(), without={Capability.GLOBAL_REVISION}, least_margin=0.4)
    assert Capability.GLOBAL_REVISION not in faulty.capabilities
    assert faulty.least_margin == 0.4
    claim = faulty.election("key").enter(faulty.open_session(30), b"a")
    assert isinstance(faulty.get("key/.epoch"), Entry)
    assert claim.token == 1
    faulty.close()
