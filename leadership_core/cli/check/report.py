"""Report of `leadership check`: progress while it runs, and the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...testing import Case
from ..output import StepPrinter, one_line
from .cases import Outcome, meaning
from .contention import ContentionResult

__all__ = ["Report"]

_USUAL_TTL = 2.0
_CLEAR = "\r\033[K"


class Report:
    """Prints each part at once, for people or as one JSON object a line.

    Args:
        url: URL of the store, without secrets.
        as_json: whether to print JSON.
    """

    def __init__(self, url: str, *, as_json: bool) -> None:
        self._url = url
        self._print_step = StepPrinter(as_json=as_json).print_step
        self._has_counter = sys.stdout.isatty() and not as_json
        self._no_outages_because = ""
        self._cases = 0
        self._number = 0

    def begin(
        self, ttl: float, expiry: float, cases: int, *, chosen: bool, no_outages_because: str
    ) -> None:
        """Announce the check.

        Args:
            ttl: seconds; of the sessions.
            expiry: seconds after which the claim of a dead leader has ended at the latest.
            cases: number of cases.
            chosen: whether the ttl was chosen here rather than by the user.
            no_outages_because: why no outage can be made; empty if it can.
        """
        self._cases = cases
        self._no_outages_because = no_outages_because
        text = f"Checking {self._url} with a ttl of {ttl:g} s."
        if chosen and ttl > _USUAL_TTL:
            text += (
                f"\nThis store accepts no shorter ttl, and frees the claim of a dead leader only after"
                f"\n{expiry:g} s, so this takes some minutes: several checks wait for that."
            )
        text += f"\n\n1. The contract of stores: {cases} checks."
        if no_outages_because:
            text += f"\n   No outage is made, because {no_outages_because}."
        self._print_step(
            "begin",
            text,
            url=self._url,
            ttl=ttl,
            expires_within=round(expiry, 3),
            cases=cases,
            outages=not no_outages_because,
            **({"no_outages_because": no_outages_because} if no_outages_because else {}),
        )

    def case_begins(self, case: Case) -> None:
        """Show on a terminal which case is running."""
        self._number += 1
        if self._has_counter:
            sys.stdout.write(f"{_CLEAR}   {self._number}/{self._cases}  {_plain(case)[:60]}")
            sys.stdout.flush()

    def case_ends(self, outcome: Outcome) -> None:
        """Print the outcome of a case; on a terminal, failures only."""
        case, failed = outcome.case, bool(outcome.fault)
        if self._has_counter:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
            if not failed:
                return
        text = f"   {'FAILED' if failed else 'ok':<6}  {outcome.seconds:6.2f} s  {_plain(case)}"
        if failed:
            text += f"\n           {case.docstring}\n           {outcome.fault}"
            text += "\n           It passed at the second try." * outcome.is_flaky
        self._print_step(
            "case",
            text,
            case=case.name,
            what=case.docstring,
            ok=not failed,
            seconds=round(outcome.seconds, 3),
            **({"fault": outcome.fault, "flaky": outcome.is_flaky} if failed else {}),
        )

    def contention_begins(self, seconds: float) -> None:
        """Announce the contended election."""
        self._print_step(
            "contention",
            f"\n2. Contention: four processes campaign in one election, for {seconds:g} s or as long as"
            " it takes.",
            seconds=seconds,
        )

    def contention_progress(self, what: str) -> None:
        """Print an event of the contended election."""
        self._print_step("contending", f"   {what}", what=what)

    def clearing_up(self) -> None:
        """Announce that the processes are ended, and what they have left is deleted."""
        self._print_step("clearing_up", "   clearing up: ending the processes, deleting their keys")

    def verdict(self, outcomes: Sequence[Outcome], result: ContentionResult) -> bool:
        """Print what passed, what failed and what that means; returns whether all passed."""
        failed = [outcome for outcome in outcomes if outcome.fault]
        passed = not (failed or result.faults)
        lines = ["", "3. Verdict: " + ("PASS." if passed else "FAIL."), ""]
        lines.append(
            f"   {len(outcomes) - len(failed)} of {len(outcomes)} checks of the store passed."
        )
        for text in dict.fromkeys(map(meaning, failed)):
            names = ", ".join(_plain(one.case) for one in failed if meaning(one) == text)
            lines.append(f"   {text}\n      because of: {names}")
        if any(outcome.is_flaky for outcome in failed):
            lines.append(
                "   A check that passed at the second try fails now and then, or this machine is too\n"
                "   busy: check again when it is idle, or with a longer --ttl."
            )
        lines += _contention_lines(result)
        if self._no_outages_because:
            lines.append(
                "   Not checked: outages of the server, because none could be made:\n"
                f"   {self._no_outages_because}."
            )
        if passed:
            lines.append("   You can elect leaders on this store.")
        self._print_step(
            "verdict",
            "\n".join(lines),
            passed=passed,
            failed=[outcome.case.name for outcome in failed],
            meaning=list(dict.fromkeys(map(meaning, failed))),
            outages=not self._no_outages_because,
            faults=result.faults,
            terms=result.terms,
            readings=result.readings,
            after_resign=[round(one, 4) for one in result.resigned],
            after_crash=result.killed and round(result.killed, 3),
            after_pause=result.paused and round(result.paused, 3),
            seconds=round(result.seconds, 2),
        )
        return passed


def _contention_lines(result: ContentionResult) -> list[str]:
    lines = []
    if result.faults:
        lines.append("   The contended election failed, so do not elect leaders on this store:")
        lines += [f"      {one_line(fault)}" for fault in result.faults[:5]]
    else:
        lines.append(
            f"   In {result.seconds:.0f} s there were {result.terms} terms. One leader was killed, one"
            f" paused past its lease,\n   {len(result.resigned)} resigned. There never were two leaders"
            f" at one time (leaders read is_leader\n   {result.readings:,} times), and each term had a"
            " larger token than the one before."
        )
    handovers = [
        ("after a resignation", result.resigned),
        ("after a crash", [] if result.killed is None else [result.killed]),
        ("after a pause", [] if result.paused is None else [result.paused]),
    ]
    for what, seconds in handovers:
        if seconds:
            middle = sorted(seconds)[len(seconds) // 2]
            worst = f", {_duration(max(seconds))} at worst" if len(seconds) > 1 else ""
            lines.append(f"   Handover {what}: {_duration(middle)}{worst}.")
    return lines


def _plain(case: Case) -> str:
    return case.name.removeprefix("test_").replace("_", " ")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
