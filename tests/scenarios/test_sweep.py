"""The check that all scenarios rely on does find what it is there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.diary import Belief, Diary, Note, Writer
from tests.scenarios.sweep import faults_of_beliefs, faults_of_story


def test_a_sound_election_has_no_faults() -> None:
    """One after the other, with growing tokens."""
    assert not faults_of_beliefs([Belief("b", 8, 30, 40), Belief("a", 7, 10, 20)])


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
    assert "two believers" in faults_of_beliefs(beliefs)[0]


def test_doubt_is_no_fault() -> None:
    """A process that was stopped between the clock and the look cannot be blamed."""
    assert not faults_of_beliefs([Belief("a", 7, 35, 5), Belief("b", 8, 20, 30)])


def test_a_gap_has_its_limit() -> None:
    """An operator's deletion is an excuse for so long and no longer."""
    beliefs = [Belief("a", 7, 10, 2_000_000_010), Belief("b", 8, 1_000_000_010, 3_000_000_000)]
    assert not faults_of_beliefs(beliefs, gap=1.1)
    assert faults_of_beliefs(beliefs, gap=0.9)


@pytest.mark.parametrize("token", [7, 6])
def test_tokens_that_do_not_grow_are_found(token: int) -> None:
    """A later term with the same token, or with a smaller one."""
    faults = faults_of_beliefs([Belief("a", 7, 10, 20), Belief("b", token, 30, 40)])
    assert "tokens do not grow" in faults[0]


@pytest.mark.parametrize(
    "story",
    [
        "campaigning elected lost resigned campaigning stopped",
        "campaigning elected elected lost stopped",
        "campaigning elected stopped",
        "campaigning elected resigned stopped campaigning",
        "campaigning elected resigned elected lost stopped",
        "campaigning elected resumed lost stopped",
        "campaigning store_up stopped",
        "elected lost stopped",
        "campaigning elected lost campaigning",
    ],
)
def test_events_out_of_order_are_found(story: str, tmp_path: Path) -> None:
    """Each of them breaks one rule."""
    diary = Diary(tmp_path / "none", "a", notes=[Note(1, name, 7) for name in story.split()])
    assert faults_of_story(diary, ended=True)


def test_a_diary_survives_its_writer(tmp_path: Path) -> None:
    """What was believed last is known although nobody wrote that it ended."""
    writer = Writer(tmp_path / "one.diary")
    writer.note(event="campaigning")
    writer.note(event="elected", token=5)
    writer.note(believes=5, at=100, until=90)
    writer.beat(5, 130)
    diary = Diary(tmp_path / "one.diary", "a").read()
    assert [(b.token, b.since, b.until, b.open) for b in diary.beliefs] == [(5, 100, 130, True)]
    assert not faults_of_story(diary, ended=False)
    writer.note(believed=5, at=140, seen=150)
    assert diary.read().beliefs[-1].until == 140
    assert diary.belief is None
