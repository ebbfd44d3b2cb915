"""The check that all scenarios rely on does find what it is there for, in what processes wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.diary import Belief, Diary, Note, Writer
from tests.scenarios.sweep import sweep

SECOND = 1_000_000_000


def diary(who: str, token: int, since: float, until: float, *, last: str = "stopped") -> Diary:
    """One term, from the first event to the last."""
    names = ["campaigning", "elected", "resigned", last]
    notes = [Note(1, name, token if name == "elected" else None) for name in names]
    belief = Belief(who, token, int(since * SECOND), int(until * SECOND), open=False)
    return Diary(Path("/nowhere") / who, who, notes=notes, beliefs=[belief])


def test_a_sound_election_is_let_through() -> None:
    """Also that of two programs with the same name."""
    one, other = diary("same", 7, 1.0, 2.0), diary("same", 8, 3.0, 4.0)
    sweep([other, one], ended=[one, other])


def test_two_believers_are_found() -> None:
    """By a millisecond, long after the machine was started."""
    month = 2_600_000.0
    with pytest.raises(AssertionError, match=r"two believers for 1\.0 ms"):
        sweep([diary("a", 7, month, month + 2.001), diary("b", 8, month + 2.0, month + 3.0)])


def test_a_gap_has_its_limit() -> None:
    """An operator's deletion is an excuse for so long and no longer."""
    diaries = [diary("a", 7, 1.0, 3.0), diary("b", 8, 2.0, 4.0)]
    sweep(diaries, gap=1.1)
    with pytest.raises(AssertionError, match="two believers"):
        sweep(diaries, gap=0.9)


def test_a_token_that_does_not_grow_is_found() -> None:
    """From one process to the next."""
    with pytest.raises(AssertionError, match="tokens do not grow"):
        sweep([diary("a", 7, 1.0, 2.0), diary("b", 6, 3.0, 4.0)])


def test_a_story_that_breaks_off_is_found_only_of_those_that_ended_in_order() -> None:
    """One that was killed may leave anything unsaid."""
    killed = diary("a", 7, 1.0, 2.0, last="campaigning")
    sweep([killed])
    with pytest.raises(AssertionError, match="stopped does not come last"):
        sweep([killed], ended=[killed])


def test_a_diary_survives_its_writer(tmp_path: Path) -> None:
    """What was believed last is known although nobody wrote that it ended."""
    writer = Writer(tmp_path / "one.diary")
    writer.note(event="campaigning")
    writer.note(event="elected", token=5)
    writer.note(believes=5, at=100, until=90)
    writer.beat(5, 130)
    written = Diary(tmp_path / "one.diary", "a").read()
    assert [(b.token, b.since, b.until, b.open) for b in written.beliefs] == [(5, 100, 130, True)]
    sweep([written])
    writer.note(believed=5, at=140, seen=150)
    assert written.read().beliefs[-1].until == 140
    assert written.belief is None
