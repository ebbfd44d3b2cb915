"""The requests of a candidate: their order, their threads, and unexpected errors."""

from __future__ import annotations

import pytest

from leadership_core import Candidate, Closable, Session, Store
from leadership_core.backend import Claim, ClaimStatus
from leadership_core.engine.store_base import internals
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultyStore


def test_claim_is_watched_before_its_status_is_queried(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change between the two is reported by the watch; in the other order it would be missed."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    election, calls = internals(opened).engine.election("key"), list[str]()
    ask, watch = election.status, election.watch_claim

    def status(claim: Claim) -> ClaimStatus:
        calls.append("status")
        return ask(claim)

    def watch_claim(*args: object) -> Closable:
        found = watch(*args)  # type: ignore[arg-type]
        calls.append("watch_claim")
        return found

    monkeypatch.setattr(election, "status", status)
    monkeypatch.setattr(election, "watch_claim", watch_claim)
    monkeypatch.setattr(election, "watches_since_enter", False)  # so its leader is read, too

    assert candidate.wait_elected(3)

    assert eventually(lambda: "status" in calls)
    assert calls[0] == "watch_claim"


def test_release_does_not_wait_behind_hanging_requests(faulty: FaultyStore, opened: Store) -> None:
    """Other candidates wait for it; the hanging requests belong to other elections of the store."""
    leader = Candidate(opened, "key", "a", ttl=3)
    assert leader.wait_elected(3)
    assert eventually(lambda: faulty.calls["watch"])
    faulty.inject(Fault.HANGS, "watch")
    others = [Candidate(opened, f"other/{number}", "b", ttl=3) for number in range(6)]
    for other in others:
        other.run_for_election()
    assert eventually(lambda: faulty.calls["watch"] > 4)

    assert leader.resign(30)


def test_unexpected_error_in_enter_leaves_no_orphaned_claim(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin entered, then raised a `ValueError`: the claim is reaped, and the candidate goes on."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    election, made = internals(opened).engine.election("key"), list[Claim]()
    enter = election.enter

    def mistaken(session: Session, value: bytes) -> Claim:
        made.append(enter(session, value))
        if len(made) == 1:
            raise ValueError("a mistake")
        return made[-1]

    monkeypatch.setattr(election, "enter", mistaken)

    term = candidate.wait_elected(5)

    assert term is not None
    assert term.token == made[-1].token != made[0].token
