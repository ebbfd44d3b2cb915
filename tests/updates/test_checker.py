"""The checker on logs made by hand: what is sound, and each thing that is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.updates.checker import Attempt, attempts_of, judge, problems


def _log(*lines: str) -> list[Attempt]:
    """Attempts from `WHO TOKEN VALUE OUTCOME [ASKED-ENDED]`; without times, one after the other."""
    made = []
    for number, line in enumerate(lines):
        who, token, value, outcome, *times = line.split()
        asked, _, ended = times[0].partition("-") if times else (number * 10, "", number * 10 + 5)
        end = int(ended) if ended != "" else None
        made.append(Attempt(who, int(token), int(value), int(asked), end, outcome))
    return made


_SOUND = [
    "ann 3 1 done 0-5",
    "ann 3 2 done 10-15",
    "ann 3 3 refused 20-90",
    "ben 7 3 done 40-45",
    "ben 7 4 done 50-55",
]


def test_a_run_that_lost_nothing() -> None:
    """Each value was acknowledged once; a write that came late was refused."""
    verdict = judge(_log(*_SOUND), 4)

    assert problems(_log(*_SOUND), 4) == []
    assert (verdict.acknowledged, verdict.lost, verdict.terms) == (4, 0, 2)
    assert (verdict.refused, verdict.stale) == (1, 1)


def test_a_stale_write_that_was_taken() -> None:
    """The counter goes back to what the old leader wrote; the increments in between are lost."""
    log = _log("ann 3 1 done 0-5", "ben 7 2 done 40-45", "ben 7 3 done 50-55", "ann 3 2 done 20-90")

    verdict = judge(log, 2)

    assert (verdict.acknowledged, verdict.lost) == (4, 2)
    found = problems(log, 2)
    assert any("value 2 was acknowledged 2 times" in problem for problem in found)
    assert any("value 3 was acknowledged, the counter is at 2" in problem for problem in found)


def test_a_stale_write_that_was_overtaken() -> None:
    """The new leader had read before it came, so the counter goes on, and one is lost."""
    log = _log("ann 3 1 done 0-5", "ann 3 2 done 20-65", "ben 7 2 done 40-45", "ben 7 3 done 60-70")

    assert judge(log, 3).lost == 1
    assert any("value 2 was acknowledged 2 times" in problem for problem in problems(log, 3))


def test_a_counter_that_is_behind() -> None:
    """The last increments were acknowledged, and are gone."""
    log = _log("ann 3 1 done", "ann 3 2 done", "ann 3 3 done")

    assert judge(log, 1).lost == 2
    assert len(problems(log, 1)) == 2


def test_a_counter_that_is_gone() -> None:
    """Nothing is left of what was acknowledged."""
    assert judge(_log("ann 3 1 done"), 0).lost == 1
    assert problems(_log("ann 3 1 done"), 0)


@pytest.mark.parametrize("outcome", ["refused", "failed", "left"])
def test_a_write_that_took_effect_although_it_was_said_not_to(outcome: str) -> None:
    """The counter has a value that nobody can have written."""
    log = _log("ann 3 1 done", f"ann 3 2 {outcome}", "ben 7 3 done")

    assert problems(log, 3) == ["nobody can have written value 2"]


def test_a_counter_that_is_ahead() -> None:
    """It says more than was asked for."""
    assert problems(_log("ann 3 1 done"), 2) == ["nobody can have written value 2"]


@pytest.mark.parametrize("final", [2, 3])
def test_an_unknown_write_may_be_in_the_counter_or_not(final: int) -> None:
    """Both are sound, also when its process never said that it was over."""
    log = _log("ann 3 1 done", "ann 3 2 unknown", "ben 7 2 done" if final == 2 else "ben 7 3 done")

    assert problems(log, final) == []
    assert judge(log, final).lost == 0
    assert judge(log, final).unknown == 1


def test_an_unknown_write_explains_its_own_value_only() -> None:
    """It does not stand in for another increment that was lost."""
    log = _log("ann 3 1 done", "ann 3 2 done", "ben 7 2 done", "ben 7 3 unknown")

    found = problems(log, 3)

    assert judge(log, 3).lost == 0  # that is why the values are looked at
    assert [problem.partition(":")[0] for problem in found[:1]] == [
        "value 2 was acknowledged 2 times"
    ]


def test_an_old_term_that_wrote_after_a_new_one() -> None:
    """All values are there, and still somebody was let in who should not have been."""
    log = _log("ann 3 1 done 0-5", "ben 7 2 done 10-15", "ann 3 3 done 20-25")

    (found,) = problems(log, 3)

    assert "value 2 is of a later term than a larger one" in found


def test_values_that_go_back_in_time() -> None:
    """A smaller value was begun after a larger one had been acknowledged."""
    log = _log("ann 3 2 done 0-5", "ann 3 1 done 10-15")

    (found,) = problems(log, 2)

    assert "value 1 was begun when a larger one had been written" in found


def test_a_refusal_before_anybody_else_has_written_is_not_stale() -> None:
    """Its term was over, but that a write was kept out does not follow from it."""
    log = _log("ann 3 1 done 0-5", "ann 3 2 refused 10-20", "ben 7 2 done 30-35")

    assert (judge(log, 2).refused, judge(log, 2).stale) == (1, 0)


def test_a_diary() -> None:
    """An attempt ends with its outcome; the last one may have none, and is unknown then."""

    def step(at: int, name: str, value: int) -> dict[str, Any]:
        return {"at": at, "step": name, "value": value, "token": 3}

    steps = [step(0, "ready", 0), step(1, "asked", 1), step(2, "done", 1)]
    steps += [step(3, "asked", 2), step(4, "stands", 2)]

    assert attempts_of("ann", steps) == [
        Attempt("ann", 3, 1, 1, 2, "done"),
        Attempt("ann", 3, 2, 3, None, "unknown"),
    ]


@pytest.mark.parametrize("steps", [["asked", "asked"], ["done"], ["asked", "done", "done"]])
def test_a_diary_that_makes_no_sense(steps: list[str]) -> None:
    """It is refused, because figures from it would mean nothing."""
    lines = [{"at": n, "step": name, "value": 1, "token": 3} for n, name in enumerate(steps)]

    with pytest.raises(AssertionError):
        attempts_of("ann", lines)
