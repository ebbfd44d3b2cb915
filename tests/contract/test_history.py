"""`check_history` on sound histories, and on one for each kind of violation."""

from __future__ import annotations

import pytest

from leadership_core import Candidate, open_store
from leadership_core.testing import (
    CandidateRecorder,
    History,
    LeadershipInterval,
    VirtualClock,
    check_history,
)


def of_beliefs(*beliefs: LeadershipInterval) -> History:
    history = History()
    history.intervals += beliefs
    return history


def of_story(stream: str) -> History:
    history = History()
    for number, name in enumerate(stream.split()):
        history.observe("a", name, number if name == "elected" else None)
    history.end("a")
    return history


def test_correct_history_has_no_faults() -> None:
    """Terms follow each other with growing tokens, in whatever order they were recorded."""
    assert not check_history(
        of_beliefs(LeadershipInterval("b", 8, 30, 40), LeadershipInterval("a", 7, 10, 20))
    )
    assert not check_history(
        of_story("campaigning elected suspended resumed lost campaigning stopped")
    )
    assert not check_history(of_story("stopped"))


@pytest.mark.parametrize(
    "beliefs",
    [
        [LeadershipInterval("a", 7, 10, 20), LeadershipInterval("b", 8, 19, 30)],
        [
            LeadershipInterval("a", 7, 10, 90),
            LeadershipInterval("b", 8, 20, 30),
            LeadershipInterval("c", 9, 50, 60),
        ],
        [LeadershipInterval("a", 7, 10, 90), LeadershipInterval("b", 8, 31, 29)],
    ],
    ids=["by a little", "within a long one", "a single look"],
)
def test_check_history_finds_two_leaders(beliefs: list[LeadershipInterval]) -> None:
    """Their intervals certainly overlap."""
    assert "two leaders" in check_history(of_beliefs(*beliefs))[0]


def test_uncertain_overlap_is_no_fault() -> None:
    """A candidate may be paused between reading the clock and reading `is_leader`."""
    assert not check_history(
        of_beliefs(LeadershipInterval("a", 7, 35, 5), LeadershipInterval("b", 8, 20, 30))
    )


def test_overlap_within_the_gap_is_no_fault() -> None:
    """A deletion by hand excuses two leaders for that time, and no longer."""
    history = of_beliefs(LeadershipInterval("a", 7, 1, 3), LeadershipInterval("b", 8, 2, 4))
    assert not check_history(history, gap=1.1)
    assert check_history(history, gap=0.9)


@pytest.mark.parametrize("token", [7, 6])
def test_check_history_finds_tokens_that_do_not_grow(token: int) -> None:
    """A later term has the same token, or a smaller one."""
    faults = check_history(
        of_beliefs(LeadershipInterval("a", 7, 10, 20), LeadershipInterval("b", token, 30, 40))
    )
    assert "tokens do not grow" in faults[0]


def test_check_history_finds_a_token_granted_twice() -> None:
    """The events alone show it."""
    history = History()
    for who in ("a", "b"):
        history.observe(who, "campaigning")
        history.observe(who, "elected", 7)
        history.observe(who, "resigned")
    assert check_history(history) == ["token 7 was granted twice"]


@pytest.mark.parametrize(
    "stream",
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
def test_check_history_finds_events_out_of_order(stream: str) -> None:
    """Each history breaks one rule, and the message names the candidate."""
    assert all(fault.startswith("a: ") for fault in check_history(of_story(stream)))
    assert check_history(of_story(stream))


def test_check_history_finds_a_term_without_its_event() -> None:
    """The last term of a killed process is excused, because it may not have reported it."""
    history = of_story("campaigning elected lost stopped")
    history.intervals.append(LeadershipInterval("a", 8, 10, 20))
    assert "was not elected for: [8]" in check_history(history)[0]

    killed = of_beliefs(LeadershipInterval("k", 5, 10, 20, open=True))
    assert not check_history(killed)
    killed.intervals[0].open = False
    assert check_history(killed)


def test_candidate_recorder_writes_intervals_and_events() -> None:
    """It writes intervals with their tokens, events in their order, and the end."""
    history = History()
    with open_store("memory://") as store:
        candidate = Candidate(store, "key", "a", ttl=3)
        recorder = CandidateRecorder(history, candidate, "a")
        for _ in range(2):
            assert candidate.wait_elected(3)
            assert candidate.resign(0)
        candidate.wait_elected(3)
        candidate.stop()
        assert recorder.join(3)

    assert [note.name for note in history.observations_of("a")][-2:] == ["resigned", "stopped"]
    told = [note.token for note in history.observations if note.name == "elected"]
    assert {belief.token for belief in history.intervals} <= set(told)
    assert history.ended == {"a"}
    assert not any(belief.open for belief in history.intervals)
    assert check_history(history) == []


def test_virtual_clock_advances_only_by_hand() -> None:
    """It is a `Clock`, and time does not go back."""
    clock = VirtualClock(5.0)
    assert (clock(), clock.now()) == (5.0, 5.0)
    assert clock.advance(2.5) == 7.5
    assert clock() == 7.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
