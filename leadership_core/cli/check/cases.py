"""The contract, case by case, against the user's store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ... import clock
from ...errors import ConfigurationError, StoreError, StoreRefused
from ...testing import Case, ElectionContract, Lab
from ..console import one_line
from ..interrupts import undisturbed

__all__ = ["Outcome", "meaning", "run_case"]

_LONGEST = 60.0  # seconds for a case, and some expiries

_ELECTION = frozenset(base.__name__ for base in ElectionContract.__mro__)
_MEANINGS = {
    "FenceCases": "Fenced writes are not safe: a leader whose term is over may still write.",
    "SessionCases": "Sessions do not end, or end too soon: what a crash leaves behind may stay, and "
    "what is alive may go.",
    "ComparisonCases": "Compare-and-set is not safe: of two writers, both may believe that they won.",
    "OutageCases": "Calls may hang, or claim what they cannot know, while the server does not answer.",
    "WatchCases": "Watches may miss changes, or tell too much.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: which.
        seconds: how long it took.
        fault: what was wrong, or nothing.
        wavers: whether it held at the second try.
        refusal: the store's, which the other cases would meet as well.
    """

    case: Case
    seconds: float
    fault: str = ""
    wavers: bool = False
    refusal: ConfigurationError | StoreRefused | None = None

    def tried_again(self, second: Outcome) -> Outcome:
        """It has failed; say so, and whether it did so once more."""
        return replace(self, wavers=not second.fault)


def run_case(case: Case, new_lab: Callable[[], Lab], expiry: float) -> Outcome:
    """Run a case in a lab of its own, which is cleared whatever happens.

    Args:
        case: which.
        new_lab: makes the lab.
        expiry: seconds that a session takes to expire, at most.
    """
    begun = clock.now()
    problem: BaseException | None = None
    lab = new_lab()
    try:
        lab.__enter__()
        try:
            problem = _in_time(lambda: case.run(lab), _LONGEST + 6 * expiry)
        finally:
            with undisturbed():
                # With the error, so that it is told, rather than what the store says to clearing.
                lab.__exit__(None if problem is None else type(problem), problem, None)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is its fault
        problem = error
    seconds = clock.now() - begun
    refusal = problem if isinstance(problem, ConfigurationError | StoreRefused) else None
    return Outcome(case, seconds, "" if problem is None else _said(problem), refusal=refusal)


def meaning(outcome: Outcome) -> str:
    """What the failure of a case means for who uses the store."""
    area = outcome.case.run.__qualname__.split(".")[0]
    if area in _ELECTION:
        return "Elections are not safe on it: two may lead at a time, or nobody although one could."
    return _MEANINGS.get(area, "Programs get other answers from it than from other stores.")


def _in_time(work: Callable[[], None], seconds: float) -> BaseException | None:
    """Do it in a thread that may be left behind; returns what it raised."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - looked at in the other thread
            problems.append(error)

    thread = threading.Thread(target=run, name="check-case", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return TimeoutError(f"it did not end within {seconds:.0f} s: some call of the store hangs")
    return problems[0] if problems else None


def _said(problem: BaseException) -> str:
    if isinstance(problem, AssertionError | TimeoutError):
        return one_line(problem) or "it did not hold"
    kind = "the store" if isinstance(problem, StoreError) else "it"
    return f"{kind} raised {type(problem).__name__}: {one_line(problem)}"
