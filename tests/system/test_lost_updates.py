"""The check for lost updates on logs made by hand: correct ones, and one for each violation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.lost_updates import Attempt, attempts_of, summarize, violations


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


def test_run_without_lost_update_passes() -> None:
    """Each value was acknowledged once; a late write was refused."""
    summary = summarize(_log(*_SOUND), 4)

    assert violations(_log(*_SOUND), 4) == []
    assert (summary.acknowledged, summary.lost, summary.terms) == (4, 0, 2)
    assert (summary.refused, summary.stale) == (1, 1)


def test_stale_write_that_was_accepted_is_found() -> None:
    """The counter goes back to the old leader's value; the increments in between are lost."""
    log = _log("ann 3 1 done 0-5", "ben 7 2 done 40-45", "ben 7 3 done 50-55", "ann 3 2 done 20-90")

    summary = summarize(log, 2)

    assert (summary.acknowledged, summary.lost) == (4, 2)
    found = violations(log, 2)
    assert any("value 2 was acknowledged 2 times" in problem for problem in found)
    assert any("value 3 was acknowledged, the counter is at 2" in problem for problem in found)


def test_stale_write_that_was_overwritten_is_found() -> None:
    """The new leader had read before it arrived, so one increment is lost."""
    log = _log("ann 3 1 done 0-5", "ann 3 2 done 20-65", "ben 7 2 done 40-45", "ben 7 3 done 60-70")

    assert summarize(log, 3).lost == 1
    assert any("value 2 was acknowledged 2 times" in problem for problem in violations(log, 3))


def test_counter_below_acknowledged_values_is_found() -> None:
    """The last acknowledged increments are missing."""
    log = _log("ann 3 1 done", "ann 3 2 done", "ann 3 3 done")

    assert summarize(log, 1).lost == 2
    assert len(violations(log, 1)) == 2


def test_missing_counter_is_found() -> None:
    """The counter does not exist after acknowledged increments."""
    assert summarize(_log("ann 3 1 done"), 0).lost == 1
    assert violations(_log("ann 3 1 done"), 0)


@pytest.mark.parametrize("outcome", ["refused", "failed", "left"])
def test_applied_write_reported_as_failed_is_found(outcome: str) -> None:
    """The counter has a value that no attempt can have written."""
    log = _log("ann 3 1 done", f"ann 3 2 {outcome}", "ben 7 3 done")

    assert violations(log, 3) == ["no attempt can have written value 2"]


def test_counter_above_written_values_is_found() -> None:
    """It is larger than any value that was sent."""
    assert violations(_log("ann 3 1 done"), 2) == ["no attempt can have written value 2"]


@pytest.mark.parametrize("final", [2, 3])
def test_unknown_write_may_be_applied_or_not(final: int) -> None:
    """Both are correct, also when the process never recorded an end."""
    log = _log("ann 3 1 done", "ann 3 2 unknown", "ben 7 2 done" if final == 2 else "ben 7 3 done")

    assert violations(log, final) == []
    assert summarize(log, final).lost == 0
    assert summarize(log, final).unknown == 1


def test_unknown_write_explains_only_its_own_value() -> None:
    """It does not replace another lost increment."""
    log = _log("ann 3 1 done", "ann 3 2 done", "ben 7 2 done", "ben 7 3 unknown")

    found = violations(log, 3)

    assert summarize(log, 3).lost == 0  # that is why the values are looked at
    assert [problem.partition(":")[0] for problem in found[:1]] == [
        "value 2 was acknowledged 2 times"
    ]


def test_write_of_old_term_after_new_one_is_found() -> None:
    """All values are there, but a stale write was accepted."""
    log = _log("ann 3 1 done 0-5", "ben 7 2 done 10-15", "ann 3 3 done 20-25")

    (found,) = violations(log, 3)

    assert "value 2 is of a later term than a larger one" in found


def test_values_out_of_order_are_found() -> None:
    """A smaller value was begun after a larger one had been acknowledged."""
    log = _log("ann 3 2 done 0-5", "ann 3 1 done 10-15")

    (found,) = violations(log, 2)

    assert "value 1 was begun when a larger one had been written" in found


def test_refusal_before_any_later_write_is_not_stale() -> None:
    """Its term was over, but no later write proves that the fence was needed."""
    log = _log("ann 3 1 done 0-5", "ann 3 2 refused 10-20", "ben 7 2 done 30-35")

    assert (summarize(log, 2).refused, summarize(log, 2).stale) == (1, 0)


def test_attempts_are_read_from_recording() -> None:
    """An attempt ends with its outcome; the last one may have none, and is unknown."""

    def step(at: int, name: str, value: int) -> dict[str, Any]:
        return {"at": at, "step": name, "value": value, "token": 3}

    steps = [step(0, "ready", 0), step(1, "asked", 1), step(2, "done", 1)]
    steps += [step(3, "asked", 2), step(4, "held", 2)]

    assert attempts_of("ann", steps) == [
        Attempt("ann", 3, 1, 1, 2, "done"),
        Attempt("ann", 3, 2, 3, None, "unknown"),
    ]


@pytest.mark.parametrize("steps", [["asked", "asked"], ["done"], ["asked", "done", "done"]])
def test_contradictory_recording_is_refused(steps: list[str]) -> None:
    """Figures computed from it would mean nothing."""
    lines = [{"at": n, "step": name, "value": 1, "token": 3} for n, name in enumerate(steps)]

    with pytest.raises(AssertionError):
        attempts_of("ann", lines)
