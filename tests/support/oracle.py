"""The oracle: checks the recorded history of one run, as pure functions.

All times are seconds of the boot clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from leadership_core.testing import History, LeadershipInterval, Observation, check_history
from tests.support.fault_log import Fault
from tests.support.recording import Recording
from tests.support.store_observer import Reading

__all__ = [
    "Recovery",
    "Run",
    "assert_sound",
    "history_of",
    "recoveries",
    "store_violations",
    "violations",
]


@dataclass
class Run:
    """The recorded facts of one run.

    Attributes:
        history: what the candidates wrote down.
        readings: what the store said, in the order of their ends.
        faults: what was done.
        recovery: seconds after the end of a fault within which there has to be a leader.
        gap: seconds for which leadership may last after the store has ended the claim; not 0 only
            where a claim was taken away by hand.
        forgets: the store lost its data, and its tokens restart.
        ended: when the candidates were asked to stop; from then on there need not be a leader.
    """

    history: History
    readings: Sequence[Reading] = ()
    faults: Sequence[Fault] = ()
    recovery: float = 0.0
    gap: float = 0.0
    forgets: bool = False
    ended: float = field(default=float("inf"))


def violations(run: Run) -> list[str]:
    """Return the violations found; none if the run was sound.

    * What `check_history` says of the candidates among themselves: two leaders, tokens that do
      not grow, events out of order.
    * In the store, each holder's token is larger than that of the one before.
    * No candidate leads while the store says that another one holds the election, or none.
    * There is a leader soon after each fault that heals.
    """
    return [*_of_candidates(run), *store_violations(run), *_of_recoveries(run)]


def store_violations(run: Run) -> list[str]:
    """Return what the readings of the store contradict; see `violations`."""
    return [*_of_holders(run), *_of_beliefs(run)]


# -- among the candidates -------------------------------------------------------------------


def _of_candidates(run: Run) -> Iterator[str]:
    for violation in check_history(run.history, gap=run.gap):
        # A store without its data grants small tokens again, which is reported and not hidden.
        if not (run.forgets and violation.startswith(("tokens do not grow", "token "))):
            yield violation


# -- by the store's word --------------------------------------------------------------------


def _of_holders(run: Run) -> Iterator[str]:
    last: Reading | None = None  # that saw a holder
    vacant = False  # since then
    for reading in () if run.forgets else run.readings:
        token = reading.token
        if token is None:
            vacant = True
            continue
        if last is not None and last.token is not None:
            went_on = token == last.token and not vacant
            if not went_on and token <= last.token:
                yield f"the store's tokens do not grow: {last} and then {reading}"
        last, vacant = reading, False


def _of_beliefs(run: Run) -> Iterator[str]:
    if not run.readings:
        if any(interval.until - interval.since > 1.0 for interval in run.history.intervals):
            yield "the store was never read, although a candidate led for more than a second"
        return
    by_since = sorted(run.readings, key=lambda reading: reading.since)
    starts = [reading.since for reading in by_since]
    later = _Later(run.readings)
    for interval in run.history.intervals:
        until = interval.until - run.gap
        # The reading began and ended within the interval, so the store said this meanwhile.
        for reading in by_since[bisect_left(starts, interval.since) :]:
            if reading.since > until:
                break
            if reading.until < until and reading.token != interval.token:
                yield f"a leader that the store did not confirm: {interval}, read: {reading}"
                break
        else:
            seen = later.first(interval.token)
            if seen is not None and seen.until < until and not run.forgets:
                yield f"leadership outlasted its claim: {interval}, read: {seen}"


class _Later:
    """A lookup of the time when a token above a given one was first seen."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._tokens: list[int] = []  # each larger than all before
        self._readings: list[Reading] = []
        for reading in readings:
            token = reading.token
            if token is not None and (not self._tokens or token > self._tokens[-1]):
                self._tokens.append(token)
                self._readings.append(reading)

    def first(self, token: int) -> Reading | None:
        number = bisect_left(self._tokens, token + 1)
        return self._readings[number] if number < len(self._readings) else None


# -- liveness -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovery:
    """The time from the end of a fault to the next leader.

    Attributes:
        since: when the fault ended.
        seconds: None if there was none before the next fault, or before the end.
        owed: there had to be one, within `Run.recovery`.
    """

    what: str
    since: float
    seconds: float | None
    owed: bool


def recoveries(run: Run) -> list[Recovery]:
    """Return the recovery from each fault that heals, in the order of their ends.

    Where another fault begins, or goes on, before the time is up, the time restarts when that
    one ends, if that one heals.
    """
    found = []
    faults = [(one.since / 1e9, _end(one), one) for one in run.faults]
    for _, end, fault in sorted(faults, key=lambda each: each[1]):
        if fault.heals and fault.until is not None:
            seconds = _led_after(run.history.intervals, end)
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
            yield f"there was a leader {took}, not within {run.recovery:g} s of the end of: {one.what}"


def _led_after(intervals: Iterable[LeadershipInterval], moment: float) -> float | None:
    """Return the seconds until there was a leader; 0 if there was one at that moment."""
    after = [
        max(0.0, one.since - moment) for one in intervals if max(one.since, one.until) >= moment
    ]
    return min(after, default=None)


def _end(fault: Fault) -> float:
    return float("inf") if fault.until is None else fault.until / 1e9


def assert_sound(
    recordings: Iterable[Recording], *, ended: Iterable[Recording] = (), gap: float = 0.0
) -> None:
    """Fail unless the recordings of one election form a correct history.

    Args:
        recordings: of every process that ever campaigned in it.
        ended: those of them whose processes had the time to end in order.
        gap: seconds for which two may lead at a time; not 0 only where an operator has taken a
            claim away, of which its holder has to be notified.
    """
    faults = check_history(history_of(recordings, ended=ended), gap=gap)
    assert not faults, "\n".join(faults)


def history_of(recordings: Iterable[Recording], *, ended: Iterable[Recording] = ()) -> History:
    """Read the recordings into one history, whose times are seconds."""
    history, whole = History(), set(map(id, ended))
    for number, recording in enumerate(recordings, 1):
        recording.read()
        who = f"{recording.who} ({number})"  # programs may have the same name
        history.intervals += [
            LeadershipInterval(who, one.token, one.since / 1e9, one.until / 1e9, one.open)
            for one in recording.intervals
        ]
        history.observations += [
            Observation(who, note.name, note.token, note.at / 1e9) for note in recording.events
        ]
        if id(recording) in whole:
            history.end(who)
    return history
