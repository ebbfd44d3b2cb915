"""Followers: the leaders and events that they report."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from leadership_core import (
    Candidate,
    Follower,
    FollowerEvent,
    Leader,
    LeaderChanged,
    Stopped,
    Store,
    StoreDown,
    StoreRefused,
)
from leadership_core.backend import clock
from leadership_core.engine import follower_driver
from tests.support.internals import follower_control
from tests.support.waiting import at_most, eventually
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore
from tests.unit.late_watch import LateWatch


def test_first_value_is_the_present_leader(open_one: Open) -> None:
    """It is None while there is no leader."""
    follower = Follower(open_one(), "key")
    start = time.monotonic()
    assert next(follower.follow_election()) is None
    assert time.monotonic() - start < at_most(0.5)
    assert follower.leader is None

    Candidate(open_one(), "key", "ann", ttl=3).wait_elected(3)
    leader = next(Follower(open_one(), "key").follow_election())
    assert str(leader) == "ann"


def test_changes_of_leaders(open_one: Open) -> None:
    """There is None between two leaders, also if one candidate leads twice."""
    candidate = Candidate(open_one(), "key", "ann", ttl=3)
    leaders = Follower(open_one(), "key").follow_election()
    assert next(leaders) is None
    first = candidate.wait_elected(3)
    seen = next(leaders)
    candidate.resign(0.1)
    assert next(leaders) is None
    second = candidate.wait_elected(3)
    again = next(leaders)

    assert first is not None
    assert second is not None
    assert seen is not None
    assert again is not None
    assert (seen.value, seen.token) == ("ann", first.token)
    assert (again.value, again.token) == ("ann", second.token)
    assert seen != again


def test_crashed_leader_is_reported_until_the_store_ends_its_claim(
    faulty: FaultyStore, opened: Store
) -> None:
    """It is never reported afterwards."""
    Candidate(opened, "key", "ann", ttl=0.6).wait_elected(3)
    with FaultyStore(faulty.inner.state).opened() as other:
        leaders = Follower(other, "key").follow_election()
        assert str(next(leaders)) == "ann"
        faulty.inject(Fault.UNAVAILABLE)
        died = time.monotonic()

        assert next(leaders) is None
        assert 0.3 < time.monotonic() - died < at_most(0.8)
    assert faulty.inner.get("key") is None


def test_slow_reader_sees_the_last_state_only(store: Store) -> None:
    """Leaders that have come and gone meanwhile are left out."""
    candidate = Candidate(store, "key", "ann", ttl=3)
    follower = Follower(store, "key")
    leaders = follower.follow_election()
    assert next(leaders) is None
    for _ in range(5):
        candidate.wait_elected(3)
        candidate.resign(0)
    term = candidate.wait_elected(3)
    assert term is not None
    assert eventually(lambda: follower.leader is not None and follower.leader.token == term.token)

    leader = next(leaders)
    assert leader is not None
    assert leader.token == term.token


def test_iterators_are_independent_and_end_with_stop(store: Store) -> None:
    """Iterators that wait in other threads end, too."""
    follower = Follower(store, "key")
    heard: list[object] = []
    readers = [
        threading.Thread(target=lambda: heard.append(list(follower.follow_election())))
        for _ in range(2)
    ]
    for one in readers:
        one.start()
    assert next(follower.follow_election()) is None
    waiter = threading.Thread(target=lambda: heard.append(follower.wait_leader(20)))
    waiter.start()
    time.sleep(0.1)
    follower.stop()
    follower.stop()
    for one in (*readers, waiter):
        one.join(2)

    assert sorted(map(str, heard)) == ["None", "[None]", "[None]"]
    assert list(follower.follow_election()) == []
    assert list(follower.events()) == [Stopped()]


def test_wait_leader(open_one: Open) -> None:
    """It returns when there is a leader, and None after its timeout."""
    follower = Follower(open_one(), "key")
    start = time.monotonic()
    assert follower.wait_leader(0.1) is None
    assert time.monotonic() - start < at_most(0.5)
    candidate = Candidate(open_one(), "key", "ann", ttl=3)
    threading.Timer(0.1, candidate.run_for_election).start()

    leader = follower.wait_leader(3)
    assert leader is not None
    assert leader.value == "ann"


def test_outage_keeps_the_last_view(faulty: FaultyStore, opened: Store) -> None:
    """The age of the view grows, and the outage is an event."""
    with FaultyStore(faulty.inner.state).opened() as fine:
        Candidate(fine, "key", "ann", ttl=3).wait_elected(3)
        follower = Follower(opened, "key")
        stream = follower.events()
        assert [str(event.leader) for event in [next(stream)] if isinstance(event, LeaderChanged)]
        faulty.inject(Fault.UNAVAILABLE)
        assert next(stream).name == "store_down"
        time.sleep(0.15)
        leader = follower.leader
        assert leader is not None
        assert leader.age >= 0.15
        faulty.heal()

        assert next(stream).name == "store_up"
        assert eventually(lambda: follower.leader is not None and follower.leader.age < 0.1)
        follower.stop()
        assert [event.name for event in stream] == ["stopped"]


def test_store_down_from_the_start_yields_no_value(faulty: FaultyStore, opened: Store) -> None:
    """There is no value before the first answer of the store."""
    faulty.inject(Fault.UNAVAILABLE)
    follower = Follower(opened, "key")
    stream = follower.events()
    assert next(stream).name == "store_down"
    assert follower.leader is None
    faulty.heal()

    assert next(follower.follow_election()) is None
    assert next(stream).name == "store_up"
    assert next(stream) == LeaderChanged(None)


def test_event_stream_opened_at_any_moment_repeats_nothing(store: Store) -> None:
    """It may be opened between a change and its publication."""
    candidate, follower = Candidate(store, "key", "ann", ttl=3), Follower(store, "key")
    follower.wait_leader(0.01)
    stories: list[Iterator[FollowerEvent]] = []
    broadcaster = follower_control(follower).state.broadcaster
    publish = broadcaster.publish

    def slowly(event: FollowerEvent | None = None) -> None:
        stories.append(follower.events())
        publish(event)

    broadcaster.publish = slowly  # type: ignore[method-assign]  # a stand-in for this test
    for _ in range(3):
        candidate.wait_elected(3)
        assert follower.wait_leader(3)
        candidate.resign(0)
        assert eventually(lambda: follower.leader is None or follower.leader.token > 0)
    follower.stop()

    assert len(stories) > 3
    for stream in stories:
        leaders = [event.leader for event in stream if isinstance(event, LeaderChanged)]
        assert all(one != other for one, other in pairwise(leaders))


def test_smaller_token_is_reported_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The store has lost its history, and the leader is reported all the same."""
    follower = Follower(store, "key")
    state = follower_control(follower).state
    with caplog.at_level(logging.WARNING):
        state.on_leader(Leader("ann", 7))
        state.on_leader(Leader("ben", 6))

    assert follower.leader == Leader("ben", 6)
    assert "from 7 to 6" in caplog.text


def test_stale_watch_report_does_not_revert_the_leader(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read was faster, so neither the older leader nor the older absence is reported."""
    monkeypatch.setattr(follower_driver, "_CONFIRM_SECONDS", 0.05)
    watch = LateWatch(store, "key", monkeypatch)
    candidate, follower = Candidate(store, "key", "ann", ttl=9), Follower(store, "key")
    first = candidate.wait_elected(3)
    stream = follower.events()
    assert eventually(lambda: follower.leader is not None)
    watch.silent = True
    candidate.resign(0)
    second = candidate.wait_elected(3)
    assert first is not None
    assert second is not None
    assert eventually(lambda: follower.leader == Leader("ann", second.token))
    control = follower_control(follower)

    for late in (Leader("ann", first.token), None):
        asked = clock.now()
        watch.report(late)
        assert eventually(lambda: control.debug_state().confirmed_at > asked, 3)  # noqa: B023  # called within this turn of the loop
        assert follower.leader == Leader("ann", second.token)

    follower.stop()
    told = [event.leader for event in stream if isinstance(event, LeaderChanged)]
    tokens = [leader.token for leader in told if leader is not None]
    assert tokens == [first.token, second.token]
    assert told[-1] is not None
    assert "lost history" not in caplog.text


def test_ended_leader_is_not_reported_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late watch reports the leader after a read has found that there is none."""
    watch = LateWatch(store, "key", monkeypatch)
    candidate, follower = Candidate(store, "key", "ann", ttl=9), Follower(store, "key")
    leader = candidate.wait_elected(3) and follower.wait_leader(3)
    assert leader is not None
    candidate.stop()
    assert eventually(lambda: follower.leader is None)
    stream = follower.events()

    watch.report(Leader("ann", leader.token))

    assert eventually(lambda: follower_control(follower).debug_state().confirmed_at > 0)
    follower.stop()
    assert [event.leader for event in stream if isinstance(event, LeaderChanged)] == [None]


def test_leader_of_a_restored_store_is_accepted(
    faulty: FaultyStore,
    opened: Store,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read confirms the watch: the token is smaller, so a warning is logged."""
    watch = LateWatch(opened, "key", monkeypatch)
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    watch.report(Leader("ann", 1000))
    assert eventually(lambda: follower.leader == Leader("ann", 1000))
    Candidate(opened, "key", "ben", ttl=9).wait_elected(3)

    leader = faulty.election("key").leader()
    assert leader is not None
    assert leader.token < 1000
    assert eventually(lambda: follower.leader == leader)
    assert f"from 1000 to {leader.token}" in caplog.text


def test_wait_leader_raises_the_error_of_an_unusable_store(
    faulty: FaultyStore, opened: Store
) -> None:
    """It does not return None as if there were no leader."""
    faulty.inject(Fault.REFUSED)

    with pytest.raises(StoreRefused):
        Follower(opened, "key").wait_leader(3)


def test_outage_is_reported_once(faulty: FaultyStore, opened: Store) -> None:
    """Further failed requests of the same outage are not reported."""
    faulty.inject(Fault.UNAVAILABLE)
    follower = Follower(opened, "key")
    stream = follower.events()
    assert eventually(lambda: faulty.calls["watch"] > 3)
    follower.stop()

    assert [type(event) for event in stream] == [StoreDown, Stopped]
