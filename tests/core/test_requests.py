"""The requests of a candidate: in which order, in whose thread, and one with a mistake in it."""

from __future__ import annotations

import pytest

from leadership_core import Candidate, Claim, Closable, Session, Standing, StoreHandle
from tests.core.faulty import Fault, FaultyStore, eventually


def test_a_claim_is_watched_before_it_is_asked_about(
    opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change between the two is told by the watch, and would be by nobody the other way round."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    election, calls = candidate._candidacy._runner._election, list[str]()
    ask, watch = election.standing, election.on_turn

    def standing(claim: Claim) -> Standing:
        calls.append("standing")
        return ask(claim)

    def on_turn(*args: object) -> Closable:
        found = watch(*args)  # type: ignore[arg-type]
        calls.append("on_turn")
        return found

    monkeypatch.setattr(election, "standing", standing)
    monkeypatch.setattr(election, "on_turn", on_turn)

    assert candidate.wait_elected(3)

    assert eventually(lambda: "standing" in calls)
    assert calls[0] == "on_turn"


def test_a_release_does_not_stand_in_line_with_requests_that_hang(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Others wait for it; those that hang are for other elections of the same store."""
    leader = Candidate(opened, "key", "a", ttl=3)
    assert leader.wait_elected(3)
    assert eventually(lambda: faulty.calls["watch"])
    faulty.inject(Fault.HANGS, "watch")
    others = [Candidate(opened, f"other/{number}", "b", ttl=3) for number in range(6)]
    for other in others:
        other.run_for_election()
    assert eventually(lambda: faulty.calls["watch"] > 4)

    assert leader.resign(30)


def test_a_mistake_in_entering_leaves_no_claim_that_is_nobodys(
    opened: StoreHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin has entered, and raised something of its own: it is found, and it goes on."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    election, made = candidate._candidacy._runner._election, list[Claim]()
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
