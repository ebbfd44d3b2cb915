"""A store on a virtual clock: what time does, and what waits for it."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from leadership_core import (
    Candidate,
    CandidateEvent,
    ConfigurationError,
    Elected,
    Follower,
    Leader,
    Lost,
    LostReason,
    NotElected,
    Store,
    observe,
    open_store,
)
from leadership_core.observers import CandidateTransition, Record, hookimpl
from leadership_core.testing import StoreFaults, VirtualClock, virtual_clock
from tests.support.waiting import at_most, wait_until

URL = "memory://test-virtual-clock"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> Iterator[Store]:
    with open_store(URL, clock=clock) as opened:
        yield opened


def lead(store: Store, value: str = "a") -> Candidate:
    candidate = Candidate(store, "key", value, ttl=15)
    assert candidate.wait_elected(5)
    return candidate


def test_jump_beyond_the_lease_ends_the_term(store: Store, clock: VirtualClock) -> None:
    """As after a suspension, the event is queued and the callback has run when `advance` returns."""
    seen: list[object] = []

    def on_lost(event: object) -> None:
        time.sleep(0.05)  # `advance` waits for it
        seen.append(event)

    candidate = Candidate(store, "key", "a", ttl=15, on_lost=on_lost)
    term = candidate.wait_elected(5)
    assert term is not None

    assert clock.advance(20) == 20

    assert (candidate.is_leader, term.lost, term.remaining()) == (False, True, 0)
    assert seen == [Lost(LostReason.EXPIRED)]


def test_jump_within_the_lease_changes_nothing(store: Store, clock: VirtualClock) -> None:
    """A renewal that is late, and in time, keeps the term."""
    term = lead(store).term
    assert term is not None

    clock.advance(13)

    assert not term.lost
    assert term.remaining() == pytest.approx(13.5), "it was renewed after the jump"


def test_healthy_leader_leads_on_while_time_elapses(store: Store, clock: VirtualClock) -> None:
    """Each renewal happens at its own time."""
    candidate = lead(store)
    term = candidate.term
    assert term is not None

    for _ in range(60):
        clock.elapse(20)
        assert term.remaining() > 5

    assert clock.now() == 1200
    assert candidate.term is term


def test_follower_sees_the_end_of_the_lease(store: Store, clock: VirtualClock) -> None:
    """The store ends the session of a leader that was suspended."""
    lead(store)
    seen: list[object] = []
    follower = Follower(store, "key", on_leader=lambda leader: seen.append(str(leader)))
    follower.wait_leader(5)

    clock.advance(20)

    assert seen == ["a", "None"]


def test_leader_has_an_age_on_the_clock(store: Store, clock: VirtualClock) -> None:
    """The age of what a follower knows grows with the clock."""
    lead(store)
    leader = Follower(store, "key").wait_leader(5)
    assert leader is not None
    before = leader.age

    clock.advance(7)

    assert leader.age == before + 7


def test_leader_is_data_that_programs_can_copy_and_send(store: Store, clock: VirtualClock) -> None:
    """The clock that it is read on is no field: JSON, `match` and pickle have the values alone."""
    lead(store)
    leader = Follower(store, "key").wait_leader(5)
    assert leader is not None

    assert json.loads(json.dumps(asdict(leader))).keys() == {"value", "token", "confirmed_at"}
    assert Leader.__match_args__ == ("value", "token", "confirmed_at")
    assert pickle.loads(pickle.dumps(leader)) == leader
    assert pickle.loads(pickle.dumps(leader)).age > 0


def test_records_of_observers_have_the_time_of_the_clock(clock: VirtualClock) -> None:
    """So a test of metrics sees the seconds that a campaign or a term took."""
    records: list[Record] = []

    class Observer:
        @hookimpl
        def leadership_observe(self, record: Record) -> None:
            records.append(record)

    handle = observe(Observer())
    try:
        with open_store(URL, clock=clock) as store:
            lead(store)
            clock.advance(20)
        wait_until(lambda: any(getattr(one, "event", "") == "lost" for one in records))
    finally:
        handle.close()

    (lost,) = [
        one for one in records if isinstance(one, CandidateTransition) and one.event == "lost"
    ]
    assert (lost.at, lost.seconds) == (20, 20)


def test_wait_in_another_thread_ends_with_the_clock(store: Store, clock: VirtualClock) -> None:
    """A program that gives up after half an hour does so at once."""
    lead(store)
    results: list[object] = []
    second = Candidate(store, "key", "b", ttl=15)
    thread = threading.Thread(target=lambda: results.append(second.wait_elected(1800)))
    thread.start()
    wait_until(lambda: clock._waits and second._control._driver.answered)

    clock.elapse(1799)
    assert thread.is_alive()
    clock.elapse(1)
    thread.join(5)

    assert results == [None]


def test_wait_for_another_program_ends_in_real_time(store: Store, clock: VirtualClock) -> None:
    """No test hangs: the timeout counts real seconds, too, and lets no time pass."""
    lead(store)

    assert Candidate(store, "key", "b", ttl=15).wait_elected(0.3) is None
    assert clock.now() == 0


def test_wait_for_a_store_that_is_down_lets_time_pass() -> None:
    """In the thread that has made the clock it takes no real time."""
    with StoreFaults() as faults:
        faults.store_down()
        begun = time.monotonic()

        with pytest.raises(NotElected):
            Candidate(faults.store, "key", "a").wait_elected(600)

        assert time.monotonic() - begun < at_most(5)
        assert faults.clock.now() >= 600


def test_stop_lets_time_pass_while_the_store_is_down() -> None:
    """It returns False after one ttl of the clock, and not of real time."""
    with StoreFaults() as faults:
        candidate = lead(faults.store)
        faults.store_down()
        begun = time.monotonic()

        assert not candidate.stop()

        assert time.monotonic() - begun < at_most(5)
        assert faults.clock.now() == 15


def test_stop_waits_for_work_in_real_time(store: Store, clock: VirtualClock) -> None:
    """Time would end the lease of work that is about to return."""
    candidate = Candidate(store, "key", "a", ttl=15)
    begun, end = threading.Event(), threading.Event()

    def work(term: object) -> None:
        begun.set()
        end.wait()

    leading = threading.Thread(target=candidate.lead, args=(work,))
    leading.start()
    assert begun.wait(5)
    stopped: list[bool] = []
    stopping = threading.Thread(target=lambda: stopped.append(candidate.stop()))
    stopping.start()
    wait_until(lambda: not candidate.is_leader)
    end.set()
    stopping.join(5)
    leading.join(5)

    assert (stopped, clock.now()) == ([True], 0)


def test_time_cannot_pass_in_a_callback(store: Store, clock: VirtualClock) -> None:
    """`advance` would wait for the callback that it was called in."""
    errors: list[object] = []

    def on_elected(term: object) -> None:
        try:
            clock.advance(1)
        except RuntimeError as error:
            errors.append(str(error))

    Candidate(store, "key", "a", on_elected=on_elected).wait_elected(5)
    clock.advance()

    assert errors == [
        "time cannot pass in a callback of the store's: it waits until callbacks have returned"
    ]


def test_blocked_callback_holds_up_no_time(
    store: Store, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback may wait for the test: time passes without it, after a while."""
    monkeypatch.setattr(virtual_clock, "_CALLBACK_SECONDS", 0.1)
    end = threading.Event()
    candidate = Candidate(store, "key", "a", ttl=15, on_elected=lambda term: end.wait() and None)
    assert candidate.wait_elected(5)
    try:
        clock.advance(20)
        assert not candidate.is_leader
    finally:
        end.set()


def test_store_that_does_not_come_to_rest_is_reported(
    store: Store, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the thread, and where it is."""
    monkeypatch.setattr(virtual_clock, "_CALLBACK_SECONDS", 0.1)
    monkeypatch.setattr(virtual_clock, "_SETTLE_SECONDS", 0.3)
    end = threading.Event()
    lead(store)

    def blocks(change: object) -> None:
        if change is None:
            end.wait()

    watch = store.watch("key", blocks)
    try:
        with pytest.raises(TimeoutError, match=r"(?s)leadership-\S+:\n.*end\.wait\(\)"):
            clock.advance(20)
    finally:
        end.set()
        watch.close()


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_does_not_go_back(clock: VirtualClock, seconds: float) -> None:
    """Neither by a jump nor by passing."""
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance(seconds)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.elapse(seconds)


def test_clock_without_a_store_is_a_counter() -> None:
    """It serves whatever takes a function that returns the time."""
    clock = VirtualClock(5.0)

    assert (clock.advance(2.5), clock.elapse(1.5), clock(), repr(clock)) == (
        7.5, 9.0, 9.0, "<VirtualClock 9>"
    )  # fmt: skip


def test_other_stores_refuse_a_clock(clock: VirtualClock, tmp_path: Path) -> None:
    """Their servers have clocks of their own."""
    with pytest.raises(ConfigurationError, match="sqlite:// runs on real time: only memory://"):
        open_store(f"sqlite:///{tmp_path}/x.db", clock=clock)


def test_clock_must_be_one() -> None:
    """A function that returns the time cannot end waits."""
    with pytest.raises(
        ConfigurationError, match=r"must be a leadership_core\.testing\.VirtualClock"
    ):
        open_store("memory://", clock=time.monotonic)  # type: ignore[arg-type]  # the mistake


def test_later_store_of_the_name_joins_the_clock(store: Store, clock: VirtualClock) -> None:
    """A program that opens its store by a URL runs on the clock of the test."""
    with open_store(URL) as second:
        candidate = lead(second)
        assert store.leader("key") is not None

        clock.advance(20)

        assert not candidate.is_leader


def test_name_has_one_clock_at_a_time(clock: VirtualClock) -> None:
    """While a store of the name is open; afterwards the next test may use it."""
    for _ in range(2):
        with open_store(URL, clock=VirtualClock()) as store:
            store.put("a", b"")
            with pytest.raises(ConfigurationError, match="is open on another clock: close it"):
                open_store(URL, clock=clock)
    with open_store(URL) as store:
        assert store.get("a") is None
        with pytest.raises(ConfigurationError, match="is open on the machine's clock: close it"):
            open_store(URL, clock=clock)


def test_no_two_lead_while_one_is_cut_off(clock: VirtualClock) -> None:
    """The second is elected after the first has stopped leading, and the first learns of it."""
    with StoreFaults(clock) as faults:
        here, there = faults.store, faults.open()
        first = lead(here)
        events: list[CandidateEvent] = []
        second = Candidate(there, "key", "b", ttl=15)
        second.add_listener(events.append)
        second.start()
        clock.advance()

        with faults.store_down(here):
            for _ in range(300):
                clock.elapse(0.1)
                assert not (first.is_leader and second.is_leader)
            assert second.is_leader

        assert any(isinstance(event, Elected) for event in events)
        clock.elapse(10)
        assert Follower(here, "key").wait_leader(5).value == "b"  # type: ignore[union-attr]  # there is one


def test_same_jumps_have_the_same_outcome() -> None:
    """Random waits are those of a seed."""

    def times() -> list[float]:
        with StoreFaults() as faults:
            at: list[float] = []
            candidate = lead(faults.store)
            candidate.add_listener(lambda event: at.append(faults.clock.now()))
            with faults.store_down():
                faults.clock.elapse(30)
            faults.clock.elapse(30)
            assert candidate.is_leader
            return at

    assert len({tuple(times()) for _ in range(5)}) == 1
