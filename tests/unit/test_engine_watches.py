"""Watches of candidates and followers: when they are armed, retried, checked and closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leadership_core import (
    Candidate,
    Capability,
    Closable,
    Follower,
    Leader,
    LeaderChanged,
    Lost,
    LostReason,
    Store,
    open_store,
)
from leadership_core.backend import Claim, ClaimStatus, DefaultElection
from leadership_core.engine import follower_driver
from leadership_core.engine.store_base import internals
from tests.support.internals import follower_control
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultyStore
from tests.unit.late_watch import LateWatch


def test_candidate_has_one_watch_per_claim(faulty: FaultyStore, opened: Store) -> None:
    """The watch of the previous claim is closed, and at the end there is none."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    for _ in range(3):
        assert candidate.wait_elected(3)
        assert eventually(lambda: faulty.armed_watches() == 1)
        candidate.resign(0)

    candidate.stop()

    assert eventually(lambda: faulty.armed_watches() == 0)


def test_watch_that_could_not_be_armed_is_armed_later(faulty: FaultyStore, opened: Store) -> None:
    """Without it the leader would miss all changes of its claim."""
    faulty.inject(Fault.UNAVAILABLE, "watch", times=1)

    assert Candidate(opened, "key", "a", ttl=3).wait_elected(3)

    assert eventually(lambda: faulty.armed_watches() == 1)


@pytest.mark.parametrize("changes", [False, True])
def test_granted_claim_is_read_where_its_watch_does_not_show_the_same(
    opened: Store, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    """An election may declare that its watch begins at the answer to entering, and report a change."""
    election = internals(opened).engine.election("key")
    watch_claim, status, asked = election.watch_claim, election.status, list[Claim]()

    def watch(claim: Claim, wake: Callable[[], None]) -> Closable:
        if changes:
            wake()
        return watch_claim(claim, lambda: None)

    def noted(claim: Claim) -> ClaimStatus:
        asked.append(claim)
        return status(claim)

    monkeypatch.setattr(election, "watches_since_enter", True, raising=False)
    monkeypatch.setattr(election, "watch_claim", watch)
    monkeypatch.setattr(election, "status", noted)
    candidate = Candidate(opened, "key", "a", ttl=3)

    assert candidate.wait_elected(3)

    if changes:
        assert eventually(lambda: asked, 3.0)
    else:
        time.sleep(0.2)
        assert not asked
    candidate.stop()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_granted_claim_is_not_read_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first report of its watch shows the entry that was written."""
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/leadership.db"
    status, asked, watch, armed = (
        DefaultElection.status,
        list[Claim](),
        DefaultElection.watch_claim,
        [],
    )

    def noted(self: DefaultElection, claim: Claim) -> ClaimStatus:
        asked.append(claim)
        return status(self, claim)

    def arm(self: DefaultElection, claim: Claim, wake: Callable[[], None]) -> Closable:
        armed.append(claim)
        return watch(self, claim, wake)

    monkeypatch.setattr(DefaultElection, "status", noted)
    monkeypatch.setattr(DefaultElection, "watch_claim", arm)
    with open_store(url) as store:
        candidate = Candidate(store, "key", "a", ttl=30)
        assert candidate.wait_elected(3)
        assert eventually(lambda: armed)
        store.put("key", b"b")  # it has to be noticed all the same
        assert eventually(lambda: not candidate.is_leader, 5)

    assert len(asked) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_granted_claim_that_is_gone_before_its_watch_ends_the_term(
    opened: Store, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """The first report of the watch shows another state than the answer to entering."""
    watch = DefaultElection.watch_claim
    before: list[Callable[[], object]] = [
        lambda: opened.put("key", b"b") if overwrite else opened.delete("key")
    ]

    def arm(self: DefaultElection, claim: Claim, wake: Callable[[], None]) -> Closable:
        if before:
            before.pop()()
        return watch(self, claim, wake)

    monkeypatch.setattr(DefaultElection, "watch_claim", arm)
    candidate = Candidate(opened, "key", "a", ttl=30)
    events = candidate.events()

    lost = next(event for event in events if isinstance(event, Lost))

    assert lost.reason is (LostReason.OVERWRITTEN if overwrite else LostReason.DELETED)
    candidate.stop()


def test_watch_armed_after_stop_is_closed(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
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
    assert eventually(lambda: faulty.armed_watches() == 0)


def test_follower_of_a_default_election_leaves_no_watch() -> None:
    """It has two watches: of the claim, and of the epoch."""
    faulty = FaultyStore(without={Capability.GLOBAL_REVISION})
    seen: list[object] = []

    watch = DefaultElection(faulty, "key").watch_leader(seen.append)
    assert faulty.armed_watches() == 2
    watch.close()

    assert faulty.armed_watches() == 0


def test_follower_reads_the_leader_when_its_watch_is_silent(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the leader every few seconds, so a watch that reports nothing only costs time."""
    monkeypatch.setattr(follower_driver, "_CONFIRM_SECONDS", 0.05)
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    faulty.silence_watches()

    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))

    found = follower.wait_leader(3)
    assert isinstance(found, Leader)
    assert found.value == "a"


def test_read_overtaken_by_the_watch_is_ignored(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store answered it before the watch reported, and the answer arrives after that."""
    monkeypatch.setattr(follower_driver, "_CONFIRM_SECONDS", 0.05)
    follower = Follower(opened, "key")
    election, seen = internals(opened).engine.election("key"), list[Leader | None]()
    look, reads, arrives = election.leader, list[Leader | None](), threading.Event()

    def slow() -> Leader | None:
        reads.append(look())
        arrives.wait(5)
        return reads[-1]

    monkeypatch.setattr(election, "leader", slow)
    monkeypatch.setattr(follower_control(follower).state, "on_leader", seen.append)
    follower.follow_election()
    assert eventually(lambda: reads == [None])
    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))
    assert eventually(lambda: seen and seen[-1])

    arrives.set()

    assert eventually(lambda: len(reads) > 2)
    first = next(place for place, one in enumerate(seen) if one)
    assert all(seen[first:])


def test_watch_overtaken_by_a_read_is_confirmed_by_another_read(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch reports an earlier state, so a further read decides."""
    monkeypatch.setattr(follower_driver, "_CONFIRM_SECONDS", 0.05)
    watch = LateWatch(opened, "key", monkeypatch)
    follower = Follower(opened, "key")
    assert next(follower.follow_election()) is None
    watch.silent = True
    faulty.inner.put("key", b"a", session=faulty.inner.open_session(30))
    assert follower.wait_leader(3)
    stream, reads = follower.events(), faulty.calls["get"]

    watch.report(None)

    assert eventually(lambda: faulty.calls["get"] > reads + 1)
    follower.stop()
    assert [event.name for event in stream if isinstance(event, LeaderChanged)] == [
        "leader_changed"
    ]
