"""Check for lost updates in the recorded increments, as pure functions.

A counter that starts at nothing and loses no update has had each value from 1 on written exactly
once, by attempts that were acknowledged or whose outcome is unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

__all__ = ["Attempt", "Summary", "attempts_of", "summarize", "violations"]

_OUTCOMES = {"done", "refused", "failed", "left", "unknown"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to increment.

    Attributes:
        who: the process.
        token: of the term it had.
        value: what it wanted to write.
        asked: when it began, in nanoseconds of the boot clock.
        ended: when it was over; None if the process never said so.
        outcome: `done` (acknowledged), `refused` (by the fence), `failed` (not done for another
            reason), `left` (the look said no, nothing was sent), or `unknown`.
    """

    who: str
    token: int
    value: int
    asked: int
    ended: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run.

    Attributes:
        acknowledged: increments.
        unknown: those that may have been written or not.
        refused: by a fence.
        stale: those refused after an increment of a later term had been acknowledged.
        final: the counter.
        lost: acknowledged increments that are not in the counter, at least.
        terms: in which something was acknowledged.
    """

    acknowledged: int
    unknown: int
    refused: int
    stale: int
    final: int
    lost: int
    terms: int

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged in {self.terms} terms, {self.unknown} unknown,"
            f" {self.refused} refused ({self.stale} stale), counter {self.final},"
            f" {self.lost} lost"
        )


def attempts_of(who: str, steps: Iterable[Mapping[str, Any]]) -> list[Attempt]:
    """Read the attempts of one process, which makes one after the other, from its recording."""
    found: list[Attempt] = []
    begun: Mapping[str, Any] | None = None

    def end(outcome: str, at: int | None) -> None:
        if begun is not None:
            token, value = begun["token"], begun["value"]
            found.append(Attempt(who, token, value, begun["at"], at, outcome))

    for step in steps:
        if step["step"] == "asked":
            assert begun is None, f"{who} began an attempt within another: {step}"
            begun = step
        elif step["step"] in _OUTCOMES:
            assert begun is not None, f"{who} ended what it had not begun: {step}"
            assert begun["value"] == step["value"], f"{who} ended another attempt: {step}"
            end(step["step"], step["at"])
            begun = None
    end("unknown", None)  # it died over it
    return found


def summarize(attempts: Sequence[Attempt], final: int) -> Summary:
    """Return the figures of a run; unknown attempts that were written reduce `lost`."""
    done = [one for one in attempts if one.outcome == "done"]
    refused = [one for one in attempts if one.outcome == "refused"]
    begun = {token: min(_ends(done, token)) for token in {one.token for one in done}}
    stale = [
        one
        for one in refused
        if any(token > one.token and first < _end(one) for token, first in begun.items())
    ]
    return Summary(
        acknowledged=len(done),
        unknown=sum(one.outcome == "unknown" for one in attempts),
        refused=len(refused),
        stale=len(stale),
        final=final,
        lost=max(0, len(done) - final),
        terms=len(begun),
    )


def violations(attempts: Sequence[Attempt], final: int) -> list[str]:
    """Return the violations of a run that may lose no update; empty if there are none.

    Every acknowledged increment is in the counter, on its own, in the order of the terms and of
    time; the counter has no value that no attempt can have written.
    """
    done = sorted((one for one in attempts if one.outcome == "done"), key=lambda one: one.value)
    unknown = {one.value for one in attempts if one.outcome == "unknown"}
    values = Counter(one.value for one in done)
    found = [
        f"value {value} was acknowledged {count} times: {_tell(done, value)}"
        for value, count in values.items()
        if count > 1
    ]
    found += [
        f"value {value} was acknowledged, the counter is at {final}: {_tell(done, value)}"
        for value in values
        if value > final
    ]
    found += [
        f"no attempt can have written value {value}"
        for value in range(1, final + 1)
        if value not in values and value not in unknown
    ]
    return found + _disorder(done)


def _disorder(done: Sequence[Attempt]) -> list[str]:
    """Return how the order of acknowledged attempts, sorted by their values, is wrong."""
    found = []
    earliest, smallest = inf, inf  # the end, and the token, of those with larger values
    for one in reversed(done):
        if one.asked > earliest:
            found.append(f"value {one.value} was begun when a larger one had been written: {one}")
        if one.token > smallest:
            found.append(f"value {one.value} is of a later term than a larger one: {one}")
        earliest, smallest = min(earliest, _end(one)), min(smallest, one.token)
    return found


def _ends(done: Iterable[Attempt], token: int) -> Iterable[float]:
    return (_end(one) for one in done if one.token == token)


def _end(one: Attempt) -> float:
    return inf if one.ended is None else one.ended


def _tell(attempts: Iterable[Attempt], value: int) -> str:
    return "; ".join(str(one) for one in attempts if one.value == value)
