"""The watches of candidates and followers: armed when needed, and none is left behind."""

from __future__ import annotations

import threading

import pytest

from leadership_core import (
    Candidate,
    Capability,
    Closable,
    DefaultElection,
    Follower,
    Leader,
    LeaderChanged,
    StoreHandle,
)
from leadership_core.engine import follower_runner
from tests.core.faulty import Fault, FaultyStore, eventually


def armed(faulty: FaultyStore) -> int:
    """How many watches the store serves."""
    return sum(len(some) for some in list(faulty.inner.state._watched.values()))


def test_each_claim_of_a_candidate_has_one_watch(faulty: FaultyStore, opened: StoreHandle) -> None:
    """That of the one before is closed, and at the end there is none."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    for _ in range(3):
        assert candidate.wait_elected(3)
        assert eventually(lambda: armed(faulty) == 1)
        candidate.resign(0)

    candidate.stop()

    assert eventually(lambda: armed(faulty) == 0)


def test_a_watch_that_could_not_be_armed_is_armed_later(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Without it, the leader would hear of nothing that is done to its claim."""
    faulty.inject(Fault.UNAVAILABLE, "watch", times=1)

    assert Candidate(opened, "key", "a", ttl=3).wait_elected(3)

    assert eventually(lambda: armed(faulty) == 1)


def test_a_watch_that_comes_after_the_stop_is_closed(
    faulty: FaultyStore, opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower may be stopped while the store is still arming its watch."""
    watch, came = faulty.watch, list[Closable]()

    def noted(*args: object, **options: object) -> Closable:
        came.append(watch(*args, **options))  # type: ignore[arg-type]
        return came[-1]

    monkeypatch.setattr(faulty, "watch", noted)
    faulty.inject(Fault.HANGS, "watch")
    follower = Follower(opened, "key")
    follower.follow_election()
    assert eventually(lambda: faulty.calls["watch"])
    follower.stop()

    faulty.heal()

    assert eventually(lambda: came)
    assert eventually(lambda: armed(faulty) == 0)


def test_a_follower_of_a_default_election_leaves_no_watch_behind() -> None:
    """It has two: of the claim, and of the count of the terms."""
    faulty = FaultyStore(without={Capability.GLOBAL_REVISION})
    seen: list[object] = []

    watch = DefaultElection(faulty, "key").watch_leader(seen.append)
    assert armed(faulty) == 2
    watch.close()

    assert armed(faulty) == 0


def test_a_follower_does_not_rely_on_its_watch_alone(
    faulty: FaultyStore, opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads who leads now and then: one whose watch has fallen silent learns of it, too."""
    monkeypatch.setattr(follower_runner, "_CONFIRM_SECONDS", 0.05)
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    faulty.inner.state._watched.clear()  # without a word

    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))

    found = follower.wait_leader(3)
    assert isinstance(found, Leader)
    assert found.value == "a"


def test_a_read_that_was_overtaken_by_the_watch_is_not_taken(
    faulty: FaultyStore, opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was answered before the watch spoke, and arrives after that."""
    monkeypatch.setattr(follower_runner, "_CONFIRM_SECONDS", 0.05)
    follower = Follower(opened, "key")
    election, seen = follower._watching._runner._election, list[Leader | None]()
    look, reads, arrives = election.leader, list[Leader | None](), threading.Event()

    def slow() -> Leader | None:
        reads.append(look())
        arrives.wait(5)
        return reads[-1]

    monkeypatch.setattr(election, "leader", slow)
    monkeypatch.setattr(follower._view, "sees", seen.append)
    follower.follow_election()
    assert eventually(lambda: reads == [None])
    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))
    assert eventually(lambda: seen and seen[-1])

    arrives.set()

    assert eventually(lambda: len(reads) > 2)
    first = next(place for place, one in enumerate(seen) if one)
    assert all(seen[first:])


def test_a_watch_that_was_overtaken_by_a_read_is_not_taken(
    faulty: FaultyStore, opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says of the time before is doubted, and another read settles that."""
    monkeypatch.setattr(follower_runner, "_CONFIRM_SECONDS", 0.05)
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    faulty.inner.state._watched.clear()
    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))
    assert follower.wait_leader(3)
    story, reads = follower.events(), faulty.calls["get"]

    follower._watching._runner._on_change(None)

    assert eventually(lambda: faulty.calls["get"] > reads + 1)
    follower.stop()
    assert [event.name for event in story if isinstance(event, LeaderChanged)] == ["leader_changed"]
