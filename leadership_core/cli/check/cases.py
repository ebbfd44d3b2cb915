"""Run of one case of the contract against the user's store, with a time limit and a second try."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...backend import clock
from ...errors import ConfigurationError, StoreError, StoreRefused
from ...testing import Case, ElectionContract, Sandbox
from ..output import one_line
from ..signals import deferred

__all__ = ["Outcome", "meaning", "run_case"]

_LONGEST = 60.0  # seconds for a case, plus some expiries

_ELECTION = frozenset(base.__name__ for base in ElectionContract.__mro__)
_MEANINGS = {
    "FenceCases": "Fenced writes are not safe: a leader whose term has ended may still write.",
    "SessionCases": "Sessions do not end, or end too early: entries of a crashed process may stay,"
    " or those of a live one may be deleted.",
    "CompareAndSetCases": "Compare-and-set is not safe: two writers may both succeed.",
    "OutageCases": "Calls may hang, or report a wrong outcome, while the server does not answer.",
    "WatchCases": "Watches may miss changes, or report too much.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case: the case.
        seconds: how long it took.
        fault: what was wrong; empty if it passed.
        is_flaky: whether it passed at the second try.
        refusal: an error of the store that every other case would meet as well.
    """

    case: Case
    seconds: float
    fault: str = ""
    is_flaky: bool = False
    refusal: ConfigurationError | StoreRefused | None = None

    def with_second_try(self, second: Outcome) -> Outcome:
        """Return this failure with the outcome of a second try."""
        return replace(self, is_flaky=not second.fault)


def run_case(case: Case, new_sandbox: Callable[[], Sandbox], expiry: float) -> Outcome:
    """Run a case in a sandbox of its own, which is cleared in any case.

    It blocks for a minute and six expiries at most; a case that hangs is left behind in its thread.

    Args:
        case: the case.
        new_sandbox: makes the sandbox.
        expiry: seconds that a session takes to expire, at most.
    """
    begun = clock.now()
    limit = _LONGEST + 6 * expiry
    problems: list[BaseException] = []
    sandbox = new_sandbox()

    def run() -> None:
        try:
            case.run(sandbox)
        except BaseException as error:  # noqa: BLE001 - reported by the other thread
            problems.append(error)

    problem: BaseException | None = None
    try:
        sandbox.__enter__()
        try:
            thread = threading.Thread(target=run, name="check-case", daemon=True)
            thread.start()
            thread.join(limit)
            if thread.is_alive():
                problem = TimeoutError(f"it did not end within {limit:.0f} s: a call hangs")
            elif problems:
                problem = problems[0]
        finally:
            with deferred():
                # With the error, which is to be reported rather than one of clearing up.
                sandbox.__exit__(None if problem is None else type(problem), problem, None)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is its fault
        problem = error
    seconds = clock.now() - begun
    fault = ""
    if isinstance(problem, AssertionError | TimeoutError):
        fault = one_line(problem) or "an assertion failed"
    elif problem is not None:
        source = "the store" if isinstance(problem, StoreError) else "it"
        fault = f"{source} raised {type(problem).__name__}: {one_line(problem)}"
    refusal = problem if isinstance(problem, ConfigurationError | StoreRefused) else None
    return Outcome(case, seconds, fault, refusal=refusal)


def meaning(outcome: Outcome) -> str:
    """Return what the failure of this case means for users of the store."""
    area = outcome.case.run.__qualname__.split(".")[0]
    if area in _ELECTION:
        return "Elections are not safe: there may be two leaders, or none although one is possible."
    return _MEANINGS.get(area, "Programs get other answers from it than from other stores.")
