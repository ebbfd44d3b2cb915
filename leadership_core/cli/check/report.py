"""What `leadership check` says: progress while it works, and a verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...testing import Case
from .. import console
from ..narrator import Narrator
from .cases import Outcome, meaning
from .contention import Contended

__all__ = ["Report"]

_USUAL_TTL = 2.0
_CLEAR = "\r\033[K"


class Report:
    """Prints each thing at once: for people, or as one JSON object a line.

    Args:
        url: of the store, without secrets.
        as_json: whether a program reads it.
    """

    def __init__(self, url: str, *, as_json: bool) -> None:
        self._url = url
        self._tell = Narrator(as_json=as_json).tell
        self._counts = sys.stdout.isatty() and not as_json
        self._no_outages_because = ""
        self._cases = 0
        self._number = 0

    def begin(
        self, ttl: float, expires: float, cases: int, *, chosen: bool, no_outages_because: str
    ) -> None:
        """What will be done, and why no outage is made if none is."""
        self._cases = cases
        self._no_outages_because = no_outages_because
        text = f"Checking {self._url} with a ttl of {ttl:g} s."
        if chosen and ttl > _USUAL_TTL:
            text += (
                f"\nThis store takes no shorter ttl, and frees the claim of a dead leader only after"
                f"\n{expires:g} s, so this takes some minutes: several checks wait for that."
            )
        text += f"\n\n1. What a store must do: {cases} checks."
        if no_outages_because:
            text += f"\n   No outage is made, because {no_outages_because}."
        self._tell(
            "begin",
            text,
            url=self._url,
            ttl=ttl,
            expires_within=round(expires, 3),
            cases=cases,
            outages=not no_outages_because,
            **({"no_outages_because": no_outages_because} if no_outages_because else {}),
        )

    def case_begins(self, case: Case) -> None:
        """Show on a terminal which one is under way."""
        self._number += 1
        if self._counts:
            sys.stdout.write(f"{_CLEAR}   {self._number}/{self._cases}  {_plain(case)[:60]}")
            sys.stdout.flush()

    def case_ends(self, outcome: Outcome) -> None:
        """Say what came of it; a terminal is told of failures only."""
        case, failed = outcome.case, bool(outcome.fault)
        if self._counts:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
            if not failed:
                return
        text = f"   {'FAILED' if failed else 'ok':<6}  {outcome.seconds:6.2f} s  {_plain(case)}"
        if failed:
            text += f"\n           {case.docstring}\n           {outcome.fault}"
            text += "\n           It held at the second try." * outcome.wavers
        self._tell(
            "case",
            text,
            case=case.name,
            what=case.docstring,
            ok=not failed,
            seconds=round(outcome.seconds, 3),
            **({"fault": outcome.fault, "wavers": outcome.wavers} if failed else {}),
        )

    def contention_begins(self, seconds: float) -> None:
        """The second part begins."""
        self._tell(
            "contention",
            f"\n2. Contention: four processes stand in one election, for {seconds:g} s or as long as"
            " it takes.",
            seconds=seconds,
        )

    def contended(self, what: str) -> None:
        """Something has happened there."""
        self._tell("contending", f"   {what}", what=what)

    def verdict(self, outcomes: Sequence[Outcome], contended: Contended) -> bool:
        """Say what holds, what does not, and what that means; returns whether it is sound."""
        failed = [outcome for outcome in outcomes if outcome.fault]
        sound = not (failed or contended.faults)
        lines = ["", "3. Verdict: " + ("SOUND." if sound else "NOT SOUND."), ""]
        lines.append(
            f"   {len(outcomes) - len(failed)} of {len(outcomes)} checks of the store hold."
        )
        for text in dict.fromkeys(map(meaning, failed)):
            names = ", ".join(_plain(one.case) for one in failed if meaning(one) == text)
            lines.append(f"   {text}\n      because of: {names}")
        if any(outcome.wavers for outcome in failed):
            lines.append(
                "   What held at the second try the store does not do now and then, or this machine is\n"
                "   too busy to tell: check again when it is idle, or with a longer --ttl."
            )
        lines += _of_contention(contended)
        if self._no_outages_because:
            lines.append(
                "   Not checked: what it does when its server does not answer, because no outage could\n"
                f"   be made: {self._no_outages_because}."
            )
        if sound:
            lines.append("   You can elect leaders on this store.")
        self._tell(
            "verdict",
            "\n".join(lines),
            sound=sound,
            failed=[outcome.case.name for outcome in failed],
            meaning=list(dict.fromkeys(map(meaning, failed))),
            outages=not self._no_outages_because,
            faults=contended.faults,
            terms=contended.terms,
            readings=contended.readings,
            **_figures(contended),
        )
        return sound


def _of_contention(contended: Contended) -> list[str]:
    found = []
    if contended.faults:
        found.append("   The contended election went wrong, so do not elect leaders on this store:")
        found += [f"      {console.one_line(fault)}" for fault in contended.faults[:5]]
    else:
        found.append(
            f"   In {contended.seconds:.0f} s there were {contended.terms} terms. One leader was killed,"
            f" one paused past its lease,\n   {len(contended.resigned)} resigned. No two ever"
            f" believed to lead at one time (those who did read it\n   {contended.readings:,} times),"
            " and each term had a larger token than the one before."
        )
    took = [
        ("after a resignation", contended.resigned),
        ("after a crash", [] if contended.killed is None else [contended.killed]),
        ("after a pause", [] if contended.paused is None else [contended.paused]),
    ]
    for what, seconds in took:
        if seconds:
            middle = sorted(seconds)[len(seconds) // 2]
            worst = f", {_duration(max(seconds))} at worst" if len(seconds) > 1 else ""
            found.append(f"   Handover {what}: {_duration(middle)}{worst}.")
    return found


def _figures(contended: Contended) -> dict[str, object]:
    return {
        "after_resign": [round(one, 4) for one in contended.resigned],
        "after_crash": contended.killed and round(contended.killed, 3),
        "after_pause": contended.paused and round(contended.paused, 3),
        "seconds": round(contended.seconds, 2),
    }


def _plain(case: Case) -> str:
    return case.name.removeprefix("test_").replace("_", " ")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
