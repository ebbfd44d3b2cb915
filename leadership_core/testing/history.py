"""History of one election, and a check that it was correct.

A history is written while an election runs, by any number of threads or from the logs of any
number of processes of one machine, and checked afterwards.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..backend.clock import now
from ..events import Elected, Event

__all__ = ["History", "LeadershipInterval", "Observation", "check_history"]


@dataclass(slots=True)
class LeadershipInterval:
    """A time for which a candidate surely was leader.

    `since` is later than the first reading that said so and `until` is earlier than the last one, so
    two intervals that overlap did overlap, however the machine delayed the processes.

    Attributes:
        who: the candidate.
        token: the token of its term.
        since: seconds.
        until: seconds; may be less than `since` where there was only one reading.
        open: whether its end was not recorded yet.
    """

    who: str
    token: int
    since: float
    until: float
    open: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """An event of a candidate.

    Attributes:
        who: the candidate.
        name: name of the event, in snake case.
        token: token of the term if the event is `elected`.
        at: seconds.
    """

    who: str
    name: str
    token: int | None
    at: float


class History:
    """The record of one election; thread-safe.

    Example:
        >>> history = History()
        >>> first = CandidateRecorder(history, candidate, "a")
        >>> ...  # run the election, then stop the candidate
        >>> assert first.join(5.0)
        >>> assert check_history(history) == []

    Attributes:
        intervals: the times for which a candidate was leader.
        observations: the events of all candidates.
        ended: the candidates that had the time to stop in order.
    """

    def __init__(self) -> None:
        self.intervals: list[LeadershipInterval] = []
        self.observations: list[Observation] = []
        self.ended: set[str] = set()
        self._lock = threading.Lock()

    def begin_interval(
        self, who: str, token: int, since: float, until: float
    ) -> LeadershipInterval:
        """Record that a candidate is leader; its writer advances `until` of the result.

        Args:
            who: the candidate.
            token: the token of its term.
            since: seconds; a time after the first reading that said so.
            until: seconds; a time before that reading.
        """
        interval = LeadershipInterval(who, token, since, until)
        with self._lock:
            self.intervals.append(interval)
        return interval

    def observe(self, who: str, event: Event | str, token: int | None = None) -> None:
        """Record an event, which happens now; a candidate's events must come in their order.

        Args:
            who: the candidate.
            event: the event, or its name.
            token: the token of the term if `event` is the name `elected`.
        """
        if isinstance(event, Elected):
            token = event.term.token
        name = event if isinstance(event, str) else event.name
        with self._lock:
            self.observations.append(Observation(who, name, token, now()))

    def end(self, who: str) -> None:
        """Record that the candidate had the time to stop in order, so its events must be complete."""
        with self._lock:
            self.ended.add(who)

    def observations_of(self, who: str) -> list[Observation]:
        """Return the events of one candidate."""
        return [observation for observation in self.observations if observation.who == who]

    def candidates(self) -> list[str]:
        """Return the names of all candidates."""
        names = [one.who for one in self.observations] + [one.who for one in self.intervals]
        return list(dict.fromkeys([*names, *self.ended]))


def check_history(history: History, *, gap: float = 0.0) -> list[str]:
    """Return a message for every fault of an election; an empty list if it was correct.

    Faults are:

    * two leaders at one time;
    * tokens that do not grow from one leader to the next, or were granted twice;
    * events out of order: any after `stopped`; an `elected` without its `campaigning`; a term that
      did not end with exactly one of `lost` and `resigned`; a term without its `elected`.

    Example:
        >>> assert check_history(history) == []

    Args:
        history: of one election.
        gap: seconds for which there may be two leaders; not 0 only where a claim was deleted by
            hand, which its holder notices a little later.
    """
    faults = list(_check_intervals(history.intervals, gap))
    for who in history.candidates():
        faults += _check_candidate(history, who)
    tokens = [one.token for one in history.observations if one.name == "elected" and one.token]
    faults += [f"token {t} was granted twice" for t in sorted(set(tokens)) if tokens.count(t) > 1]
    return faults


def _check_intervals(intervals: Iterable[LeadershipInterval], gap: float) -> Iterator[str]:
    in_order = sorted(intervals, key=lambda interval: interval.since)
    for one, other in itertools.combinations(in_order, 2):
        # `since` may come after `until`: the only reading was in between, at an unknown moment.
        if other.since <= one.until and one.since <= other.until:
            both = min(one.until, other.until) - other.since
            if not gap or both > gap:
                yield f"two leaders for {both * 1000:.1f} ms: {one} and {other}"
        elif one.since < other.until and one.token >= other.token:
            yield f"tokens do not grow: {one} and then {other}"


def _check_candidate(history: History, who: str) -> Iterator[str]:
    observations = history.observations_of(who)
    names = [observation.name for observation in observations]
    intervals = [interval for interval in history.intervals if interval.who == who]
    faults = _EventOrder().check(names)
    if who in history.ended and names[-1:] != ["stopped"]:
        faults.append("stopped does not come last")
    elected = {one.token for one in observations if one.name == "elected"}
    if unreported := {interval.token for interval in intervals} - elected:
        # A killed candidate may not have had the time to report its last election.
        last = intervals[-1]
        if who in history.ended or unreported != {last.token} or not last.open:
            faults.append(f"leader in terms that it was not elected for: {sorted(unreported)}")
    for fault in faults:
        yield f"{who}: {fault}: {' '.join(names)}"


class _EventOrder:
    """The state of one candidate according to its events until now."""

    def __init__(self) -> None:
        self.campaigning = self.leading = self.suspended = self.down = self.stopped = False

    def check(self, names: list[str]) -> list[str]:
        faults = [fault for name in names if (fault := self._next_fault(name))]
        if names and names[0] not in {"campaigning", "stopped"}:
            faults.append("campaigning does not come first")
        return faults

    def _next_fault(self, name: str) -> str:
        if self.stopped:
            return f"{name} after stopped"
        is_valid = True
        match name:
            case "campaigning":
                is_valid = not (self.campaigning or self.leading)
                self.campaigning = True
            case "elected":
                is_valid = self.campaigning and not self.leading
                self.leading, self.suspended = True, False
            case "lost" | "resigned":
                is_valid = self.leading
                self.leading = self.campaigning = False
            case "suspended" | "resumed":
                is_valid = self.leading and self.suspended == (name == "resumed")
                self.suspended = name == "suspended"
            case "store_down" | "store_up":
                is_valid = self.down == (name == "store_up")
                self.down = name == "store_down"
            case "stopped":
                is_valid = not self.leading
                self.stopped = True
            case _:
                is_valid = False
        return "" if is_valid else f"{name} out of order"
