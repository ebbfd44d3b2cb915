"""Histories of elections: the sound ones pass, and every kind of fault is found."""

from __future__ import annotations

import pytest

from leadership_core import Candidate, open_store
from leadership_core.testing import Belief, History, VirtualClock, Witness, check_history


def of_beliefs(*beliefs: Belief) -> History:
    history = History()
    history.beliefs += beliefs
    return history


def of_story(story: str) -> History:
    history = History()
    for number, name in enumerate(story.split()):
        history.note("a", name, number if name == "elected" else None)
    history.end("a")
    return history


def test_a_sound_election_has_no_faults() -> None:
    """One after the other, with growing tokens, in whatever order they were written down."""
    assert not check_history(of_beliefs(Belief("b", 8, 30, 40), Belief("a", 7, 10, 20)))
    assert not check_history(
        of_story("campaigning elected suspended resumed lost campaigning stopped")
    )
    assert not check_history(of_story("stopped"))


@pytest.mark.parametrize(
    "beliefs",
    [
        [Belief("a", 7, 10, 20), Belief("b", 8, 19, 30)],
        [Belief("a", 7, 10, 90), Belief("b", 8, 20, 30), Belief("c", 9, 50, 60)],
        [Belief("a", 7, 10, 90), Belief("b", 8, 31, 29)],
    ],
    ids=["by a little", "within a long one", "a single look"],
)
def test_two_believers_are_found(beliefs: list[Belief]) -> None:
    """Beliefs of which it is certain that they overlap."""
    assert "two believers" in check_history(of_beliefs(*beliefs))[0]


def test_doubt_is_no_fault() -> None:
    """One that was stopped between the clock and the look cannot be blamed."""
    assert not check_history(of_beliefs(Belief("a", 7, 35, 5), Belief("b", 8, 20, 30)))


def test_a_gap_has_its_limit() -> None:
    """An operator's deletion is an excuse for so long and no longer."""
    history = of_beliefs(Belief("a", 7, 1, 3), Belief("b", 8, 2, 4))
    assert not check_history(history, gap=1.1)
    assert check_history(history, gap=0.9)


@pytest.mark.parametrize("token", [7, 6])
def test_tokens_that_do_not_grow_are_found(token: int) -> None:
    """A later term with the same token, or with a smaller one."""
    faults = check_history(of_beliefs(Belief("a", 7, 10, 20), Belief("b", token, 30, 40)))
    assert "tokens do not grow" in faults[0]


def test_a_token_that_was_given_twice_is_found() -> None:
    """Also to candidates that nobody has ever seen believe."""
    history = History()
    for who in ("a", "b"):
        history.note(who, "campaigning")
        history.note(who, "elected", 7)
        history.note(who, "resigned")
    assert check_history(history) == ["token 7 was given twice"]


@pytest.mark.parametrize(
    "story",
    [
        "campaigning elected lost resigned campaigning stopped",
        "campaigning elected elected lost stopped",
        "campaigning campaigning elected lost stopped",
        "campaigning elected stopped",
        "campaigning elected resigned stopped campaigning",
        "campaigning elected resigned stopped stopped",
        "campaigning elected resigned elected lost stopped",
        "campaigning elected resumed lost stopped",
        "campaigning elected suspended suspended lost stopped",
        "campaigning suspended stopped",
        "campaigning store_up stopped",
        "campaigning store_down store_down stopped",
        "campaigning promoted stopped",
        "elected lost stopped",
        "campaigning elected lost campaigning",
    ],
)
def test_events_out_of_order_are_found(story: str) -> None:
    """Each of them breaks one rule, and the candidate is named."""
    assert all(fault.startswith("a: ") for fault in check_history(of_story(story)))
    assert check_history(of_story(story))


def test_a_belief_that_nobody_was_told_of_is_found() -> None:
    """But for the last one of a process that was killed before it could say so."""
    history = of_story("campaigning elected lost stopped")
    history.beliefs.append(Belief("a", 8, 10, 20))
    assert "was not elected for: [8]" in check_history(history)[0]

    killed = of_beliefs(Belief("k", 5, 10, 20, open=True))
    assert not check_history(killed)
    killed.beliefs[0].open = False
    assert check_history(killed)


def test_a_witness_writes_what_it_sees() -> None:
    """Beliefs with their tokens, events in their order, and the end."""
    history = History()
    with open_store("memory://") as store:
        candidate = Candidate(store, "key", "a", ttl=3)
        witness = Witness(history, candidate, "a")
        for _ in range(2):
            assert candidate.wait_elected(3)
            assert candidate.resign(0)
        candidate.wait_elected(3)
        candidate.stop()
        assert witness.join(3)

    assert [note.name for note in history.story("a")][-2:] == ["resigned", "stopped"]
    told = [note.token for note in history.notes if note.name == "elected"]
    assert {belief.token for belief in history.beliefs} <= set(told)
    assert history.ended == {"a"}
    assert not any(belief.open for belief in history.beliefs)
    assert check_history(history) == []


def test_a_virtual_clock_goes_when_it_is_told() -> None:
    """It is a `Clock`, and time does not go back."""
    clock = VirtualClock(5.0)
    assert (clock(), clock.now()) == (5.0, 5.0)
    assert clock.advance(2.5) == 7.5
    assert clock() == 7.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
