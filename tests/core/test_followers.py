"""What a follower sees."""

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
    StoreDown,
    StoreHandle,
    StoreRefused,
)
from tests.core.conftest import Open
from tests.core.faulty import Fault, FaultyStore, eventually
from tests.support.machine import at_most


def test_first_value_comes_at_once(open_one: Open) -> None:
    """None, as long as nobody leads; otherwise the leader."""
    follower = Follower(open_one(), "key")
    start = time.monotonic()
    assert next(follower.follow_election()) is None
    assert time.monotonic() - start < at_most(0.5)
    assert follower.leader is None

    Candidate(open_one(), "key", "ann", ttl=3).wait_elected(3)
    leader = next(Follower(open_one(), "key").follow_election())
    assert str(leader) == "ann"


def test_changes_of_leaders(open_one: Open) -> None:
    """None in between, and a re-election of the same name is another leader."""
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
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """And never afterwards."""
    Candidate(opened, "key", "ann", ttl=0.6).wait_elected(3)
    with FaultyStore(faulty.inner.state).opened() as other:
        leaders = Follower(other, "key").follow_election()
        assert str(next(leaders)) == "ann"
        faulty.inject(Fault.UNAVAILABLE)
        died = time.monotonic()

        assert next(leaders) is None
        assert 0.3 < time.monotonic() - died < at_most(0.8)
    assert faulty.inner.get("key") is None


def test_slow_reader_sees_the_last_state_only(store: StoreHandle) -> None:
    """Leaders that came and went meanwhile are left out."""
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


def test_iterators_are_independent_and_end_with_stop(store: StoreHandle) -> None:
    """Also those that wait in another thread."""
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
    """Until somebody leads, or no longer than it may."""
    follower = Follower(open_one(), "key")
    start = time.monotonic()
    assert follower.wait_leader(0.1) is None
    assert time.monotonic() - start < at_most(0.5)
    candidate = Candidate(open_one(), "key", "ann", ttl=3)
    threading.Timer(0.1, candidate.run_for_election).start()

    leader = follower.wait_leader(3)
    assert leader is not None
    assert leader.value == "ann"


def test_outage_keeps_the_last_view(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Its age grows; that the store is away is an event."""
    with FaultyStore(faulty.inner.state).opened() as fine:
        Candidate(fine, "key", "ann", ttl=3).wait_elected(3)
        follower = Follower(opened, "key")
        story = follower.events()
        assert [str(event.leader) for event in [next(story)] if isinstance(event, LeaderChanged)]
        faulty.inject(Fault.UNAVAILABLE)
        assert next(story).name == "store_down"
        time.sleep(0.15)
        leader = follower.leader
        assert leader is not None
        assert leader.age >= 0.15
        faulty.heal()

        assert next(story).name == "store_up"
        assert eventually(lambda: follower.leader is not None and follower.leader.age < 0.1)
        follower.stop()
        assert [event.name for event in story] == ["stopped"]


def test_store_that_is_away_from_the_start(faulty: FaultyStore, opened: StoreHandle) -> None:
    """There is no value until something is known."""
    faulty.inject(Fault.UNAVAILABLE)
    follower = Follower(opened, "key")
    story = follower.events()
    assert next(story).name == "store_down"
    assert follower.leader is None
    faulty.heal()

    assert next(follower.follow_election()) is None
    assert next(story).name == "store_up"
    assert next(story) == LeaderChanged(None)


def test_story_that_begins_at_any_moment_tells_nothing_twice(store: StoreHandle) -> None:
    """Also between a change and its announcement."""
    candidate, follower = Candidate(store, "key", "ann", ttl=3), Follower(store, "key")
    follower.wait_leader(0.01)
    stories: list[Iterator[FollowerEvent]] = []
    announce = follower._view.announcer.announce

    def slowly(event: FollowerEvent | None = None) -> None:
        stories.append(follower.events())
        announce(event)

    follower._view.announcer.announce = slowly  # type: ignore[method-assign]
    for _ in range(3):
        candidate.wait_elected(3)
        assert follower.wait_leader(3)
        candidate.resign(0)
        assert eventually(lambda: follower.leader is None or follower.leader.token > 0)
    follower.stop()

    assert len(stories) > 3
    for story in stories:
        leaders = [event.leader for event in story if isinstance(event, LeaderChanged)]
        assert all(one != other for one, other in pairwise(leaders))


def test_lost_history_is_reported(store: StoreHandle, caplog: pytest.LogCaptureFixture) -> None:
    """A smaller token is a warning; it is the truth all the same."""
    follower = Follower(store, "key")
    view = follower._view
    with caplog.at_level(logging.WARNING):
        view.sees(Leader("ann", 7))
        view.sees(Leader("ben", 6))

    assert follower.leader == Leader("ben", 6)
    assert "from 7 to 6" in caplog.text


def test_watch_that_is_late_does_not_lead_back(
    store: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """A read was faster: an older leader, and an older absence, are not reported after it."""
    candidate, follower = Candidate(store, "key", "ann", ttl=9), Follower(store, "key")
    first = candidate.wait_elected(3)
    story = follower.events()
    assert eventually(lambda: follower.leader is not None)
    candidate.resign(0)
    second = candidate.wait_elected(3)
    assert first is not None
    assert second is not None
    assert eventually(lambda: follower.leader == Leader("ann", second.token))
    runner = follower._watching._runner
    runner._ahead = True  # as if a read had brought that

    for late in (Leader("ann", first.token), None):
        asked = runner._asked_at
        runner._on_change(late)
        assert eventually(lambda: runner._sure_at > asked, 3)  # noqa: B023
        assert follower.leader == Leader("ann", second.token)

    follower.stop()
    told = [event.leader for event in story if isinstance(event, LeaderChanged)]
    tokens = [leader.token for leader in told if leader is not None]
    assert tokens == [first.token, second.token]
    assert told[-1] is not None
    assert "lost history" not in caplog.text


def test_leader_of_before_its_end_is_not_reported_again(store: StoreHandle) -> None:
    """A watch that is late tells of it once more, when a read has found that nobody leads."""
    candidate, follower = Candidate(store, "key", "ann", ttl=9), Follower(store, "key")
    leader = candidate.wait_elected(3) and follower.wait_leader(3)
    assert leader is not None
    candidate.stop()
    assert eventually(lambda: follower.leader is None)
    story = follower.events()

    follower._watching._runner._on_change(Leader("ann", leader.token))

    assert eventually(lambda: follower._watching._runner._sure_at > 0)
    follower.stop()
    assert [event.leader for event in story if isinstance(event, LeaderChanged)] == [None]


def test_restored_store_is_believed(
    faulty: FaultyStore, opened: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """A read says the same as the watch: the token is smaller, and a warning says so."""
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    runner = follower._watching._runner
    runner._on_change(Leader("ann", 1000))
    assert eventually(lambda: follower.leader == Leader("ann", 1000))
    Candidate(opened, "key", "ben", ttl=9).wait_elected(3)

    leader = faulty.election("key").leader()
    assert leader is not None
    assert leader.token < 1000
    assert eventually(lambda: follower.leader == leader)
    assert f"from 1000 to {leader.token}" in caplog.text


def test_waiting_for_a_leader_ends_with_the_error(faulty: FaultyStore, opened: StoreHandle) -> None:
    """A store that cannot be used is said to be that, and not to have no leader."""
    faulty.inject(Fault.REFUSED)

    with pytest.raises(StoreRefused):
        Follower(opened, "key").wait_leader(3)


def test_outage_is_told_once(faulty: FaultyStore, opened: StoreHandle) -> None:
    """However often the store was tried meanwhile."""
    faulty.inject(Fault.UNAVAILABLE)
    follower = Follower(opened, "key")
    story = follower.events()
    assert eventually(lambda: faulty.calls["watch"] > 3)
    follower.stop()

    assert [type(event) for event in story] == [StoreDown, Stopped]
