"""Four processes in one election on the user's store, and what befalls their leaders."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ... import clock
from ..evidence import check_history, history_of, readings
from ..troupe import Line, NotSeen, Troupe

__all__ = ["NAMES", "Contended", "Contention"]

NAMES = ("check-1", "check-2", "check-3", "check-4")

_START_SECONDS = 30.0  # four interpreters on a busy machine
_ANSWER_SECONDS = 5.0  # what needs no lease to end
_SLACK = 1.0  # seconds beyond what the store promises
_LEAST_RESIGNS = 3
# All others have rested from their own resignation by the time of the next one.
_REST = 1.3


@dataclass(slots=True)
class Contended:
    """What came of it; all times are in seconds.

    Attributes:
        resigned: from each resignation to the next leader.
        killed: from the leader's death to the next one.
        paused: from the leader's pause to the next one.
        terms: how many there were.
        readings: how often somebody read that it leads.
        faults: all that must not have happened.
        seconds: how long it took.
    """

    resigned: list[float] = field(default_factory=list)
    killed: float | None = None
    paused: float | None = None
    terms: int = 0
    readings: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def median(self) -> float:
        """Of the handovers after a resignation."""
        return statistics.median(self.resigned)


class Contention:
    """One election that is contended.

    Args:
        troupe: the candidates' processes.
        progress: called with what happens, in a few words.
        expires: seconds after which the store has ended a silent claim at the latest.
        seconds: how long to contend at least.
    """

    def __init__(
        self, troupe: Troupe, progress: Callable[[str], None], expires: float, seconds: float
    ) -> None:
        self._troupe = troupe
        self._progress = progress
        self._expires = expires
        self._seconds = seconds
        self._killed: dict[str, float] = {}
        self._found = Contended()

    def run(self) -> Contended:
        """Let them contend; what does not happen is a fault, and the end of it."""
        begun = clock.now()
        ended: set[str] = set()
        try:
            self._contend()
            if self._troupe.end():
                ended = set(NAMES) - self._killed.keys()
            else:
                self._found.faults.append("one of the processes did not stop when it was told to")
        except NotSeen as error:
            self._found.faults.append(str(error))
            self._troupe.end()
        lines = self._troupe.lines
        history = history_of(lines, killed=self._killed, ended=ended)
        self._found.faults += check_history(history)
        self._found.terms = sum(line.is_event("elected") for line in lines)
        self._found.readings = readings(lines)
        self._found.seconds = clock.now() - begun
        return self._found

    def _contend(self) -> None:
        leader = self._start()
        begun = clock.now()
        leader = self._resign(leader, _LEAST_RESIGNS)
        leader = self._kill(leader)
        leader = self._pause(leader)
        while clock.now() - begun < self._seconds:
            leader = self._resign(leader, 1)
        self._progress(f"resigned {len(self._found.resigned)} times")
        time.sleep(_REST / 2)

    def _start(self) -> str:
        for name in NAMES:
            self._troupe.start(name)
        for name in NAMES:
            self._troupe.wait(
                f"{name} starts",
                _START_SECONDS,
                lambda line, name=name: line.name == name,  # type: ignore[misc]
            )
        first = self._troupe.wait(
            "one of them is elected", _ANSWER_SECONDS, lambda line: line.is_event("elected")
        )
        self._progress(f"four processes stand, {first.name} is elected")
        return self._leader(first.at)

    def _resign(self, leader: str, times: int) -> str:
        for _ in range(times):
            time.sleep(_REST / (len(NAMES) - 1 - len(self._killed)))
            leader = self._leader(clock.now())
            at = self._troupe.signal(leader, signal.SIGUSR1)
            leader, took = self._succeed(
                f"after {leader} has resigned", leader, at, _ANSWER_SECONDS
            )
            self._found.resigned.append(took)
        return leader

    def _kill(self, leader: str) -> str:
        self._progress(f"{leader}, which leads, is killed; at most {self._expires:.1f} s to wait")
        at = self._killed[leader] = self._troupe.signal(leader, signal.SIGKILL)
        what = f"after the leader, {leader}, has died"
        leader, self._found.killed = self._succeed(what, leader, at, self._expires + _SLACK)
        return leader

    def _pause(self, leader: str) -> str:
        self._progress(f"{leader}, which leads now, is paused past its lease")
        time.sleep(_REST / 2)
        at = self._troupe.signal(leader, signal.SIGSTOP)
        what = f"after the leader, {leader}, was paused"
        following, self._found.paused = self._succeed(what, leader, at, self._expires + _SLACK)
        awake = self._troupe.signal(leader, signal.SIGCONT)
        look = self._troupe.wait(
            f"{leader} wakes up after its pause",
            _ANSWER_SECONDS,
            partial(_woke, leader, at),
        )
        if look.said["is_leader"]:
            raise NotSeen(f"{leader} believed that it led when it woke up after its pause")
        self._troupe.wait(
            f"{leader} says that it has lost, and stands again",
            _ANSWER_SECONDS,
            lambda line: line.name == leader and line.is_event("campaigning") and line.at > awake,
        )
        return following

    def _succeed(self, what: str, leader: str, at: float, seconds: float) -> tuple[str, float]:
        """Wait for the next leader; returns who it is and how long that took."""
        elected = self._troupe.wait(
            f"another one is elected {what}",
            seconds,
            lambda line: line.is_event("elected") and line.name != leader and line.at > at,
        )
        return elected.name, elected.at - at

    def _leader(self, at: float) -> str:
        """Who was elected last."""
        elected = [one for one in self._troupe.lines if one.is_event("elected") and one.at <= at]
        return max(elected, key=lambda line: line.at).name


def _woke(leader: str, at: float, line: Line) -> bool:
    return line.name == leader and "woke" in line.said and line.at > at
