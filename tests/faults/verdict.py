"""Whether what happened in one run may have happened: pure functions over what was written down.

All times are seconds of the boot clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from leadership_core.testing import Belief, History, check_history
from tests.faults.chronicle import Fault
from tests.faults.witness import Look

__all__ = ["Recovery", "Run", "judge", "recoveries"]


@dataclass
class Run:
    """All that is known about one run.

    Attributes:
        history: what the candidates wrote down.
        looks: what the store said, in the order of their ends.
        faults: what was done.
        recovery: seconds after the end of a fault within which somebody has to lead.
        gap: seconds for which a belief may go on after the store has ended its claim; not 0 only
            where a claim was taken away by hand.
        forgets: the store lost its data, and its tokens began anew.
        ended: when the candidates were told to stop; nobody has to lead any more.
    """

    history: History
    looks: Sequence[Look] = ()
    faults: Sequence[Fault] = ()
    recovery: float = 0.0
    gap: float = 0.0
    forgets: bool = False
    ended: float = field(default=float("inf"))


def judge(run: Run) -> list[str]:
    """Return all that must not have happened; nothing if all was sound.

    * What `check_history` says of the candidates among themselves: two believers, tokens that do
      not grow, events out of turn.
    * In the store, each holder's token is larger than that of the one before.
    * Nobody believes in a token while the store says that somebody else holds the election, or
      nobody.
    * Somebody leads soon after each fault that heals.
    """
    return [*_of_candidates(run), *_of_holders(run), *_of_beliefs(run), *_of_recoveries(run)]


# -- among the candidates -------------------------------------------------------------------


def _of_candidates(run: Run) -> Iterator[str]:
    for complaint in check_history(run.history, gap=run.gap):
        # A store that began anew gives small tokens again, which is reported and not hidden.
        if not (run.forgets and complaint.startswith(("tokens do not grow", "token "))):
            yield complaint


# -- by the store's word --------------------------------------------------------------------


def _of_holders(run: Run) -> Iterator[str]:
    last: Look | None = None  # that saw a holder
    vacant = False  # since then
    for look in () if run.forgets else run.looks:
        token = look.token
        if token is None:
            vacant = True
            continue
        if last is not None and last.token is not None:
            went_on = token == last.token and not vacant
            if not went_on and token <= last.token:
                yield f"the store's tokens do not grow: {last} and then {look}"
        last, vacant = look, False


def _of_beliefs(run: Run) -> Iterator[str]:
    if not run.looks:
        if any(belief.until - belief.since > 1.0 for belief in run.history.beliefs):
            yield "the store was never seen, although somebody led for more than a second"
        return
    by_since = sorted(run.looks, key=lambda look: look.since)
    starts = [look.since for look in by_since]
    later = _Later(run.looks)
    for belief in run.history.beliefs:
        until = belief.until - run.gap
        # What was seen began and ended while it believed, so the store said it meanwhile.
        for look in by_since[bisect_left(starts, belief.since) :]:
            if look.since > until:
                break
            if look.until < until and look.token != belief.token:
                yield f"a belief that the store did not share: {belief}, seen: {look}"
                break
        else:
            seen = later.first(belief.token)
            if seen is not None and seen.until < until and not run.forgets:
                yield f"a belief outlived its claim: {belief}, seen: {seen}"


class _Later:
    """Answers when a token above a given one was first seen."""

    def __init__(self, looks: Iterable[Look]) -> None:
        self._tokens: list[int] = []  # each larger than all before
        self._looks: list[Look] = []
        for look in looks:
            token = look.token
            if token is not None and (not self._tokens or token > self._tokens[-1]):
                self._tokens.append(token)
                self._looks.append(look)

    def first(self, token: int) -> Look | None:
        number = bisect_left(self._tokens, token + 1)
        return self._looks[number] if number < len(self._looks) else None


# -- liveness -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovery:
    """How long it took after a fault until somebody led.

    Attributes:
        since: when the fault ended.
        seconds: None if nobody did before the next fault, or before the end.
        owed: somebody had to, within `Run.recovery`.
    """

    what: str
    since: float
    seconds: float | None
    owed: bool


def recoveries(run: Run) -> list[Recovery]:
    """Return how each fault that heals was followed, in the order of their ends.

    Where another fault begins, or goes on, before the time is up, the time begins anew when that
    one ends, if that one heals.
    """
    found = []
    faults = [(one.since / 1e9, _end(one), one) for one in run.faults]
    for _, end, fault in sorted(faults, key=lambda each: each[1]):
        if fault.heals and fault.until is not None:
            seconds = _led_after(run.history.beliefs, end)
            latest = end + run.recovery
            others = [(a, b) for a, b, other in faults if other is not fault]
            disturbed = any(a < latest and b > end for a, b in others)
            disturbed = disturbed or run.ended < latest
            owed = not (disturbed and (seconds is None or seconds > run.recovery))
            found.append(Recovery(fault.what, end, seconds, owed))
    return found


def _of_recoveries(run: Run) -> Iterator[str]:
    for one in recoveries(run):
        if one.owed and (one.seconds is None or one.seconds > run.recovery):
            took = "never" if one.seconds is None else f"only after {one.seconds:.1f} s"
            yield f"somebody led {took}, not within {run.recovery:g} s of the end of: {one.what}"


def _led_after(beliefs: Iterable[Belief], moment: float) -> float | None:
    """Seconds until somebody believed, 0 if somebody did at that moment."""
    after = [max(0.0, one.since - moment) for one in beliefs if max(one.since, one.until) >= moment]
    return min(after, default=None)


def _end(fault: Fault) -> float:
    return float("inf") if fault.until is None else fault.until / 1e9
