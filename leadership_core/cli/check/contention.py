"""Contended election of four processes on the user's store: crash, pause and resignations."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...backend import clock
from ...testing.history import check_history
from ..candidate_processes import (
    CandidateProcesses,
    ExpectationFailed,
    Message,
    count_readings,
    history_of,
)

__all__ = ["NAMES", "Contention", "ContentionResult"]

NAMES = ("check-1", "check-2", "check-3", "check-4")

_START_SECONDS = 30.0  # four interpreters on a busy machine
_ANSWER_SECONDS = 5.0  # for an event that needs no lease to end
_SLACK = 1.0  # seconds beyond what the store promises
_LEAST_RESIGNATIONS = 3
# Seconds after which a candidate that has resigned campaigns again.
_REST = 1.3


@dataclass(slots=True)
class ContentionResult:
    """The result of a contended election; all times are in seconds.

    Attributes:
        resigned: from each resignation to the next leader.
        killed: from the leader's death to the next leader.
        paused: from the leader's pause to the next leader.
        terms: number of terms.
        readings: how often a leader has read that it is leader.
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
        """The median handover after a resignation."""
        return statistics.median(self.resigned)


class Contention:
    """One contended election.

    Args:
        processes: the candidates' processes.
        progress: called with what happens, in a few words.
        expiry: seconds after which the store has ended the claim of a dead leader at the latest.
        seconds: how long to contend at least.
    """

    def __init__(
        self,
        processes: CandidateProcesses,
        progress: Callable[[str], None],
        expiry: float,
        seconds: float,
    ) -> None:
        self._processes = processes
        self._progress = progress
        self._expiry = expiry
        self._seconds = seconds
        self._killed: dict[str, float] = {}
        self._result = ContentionResult()

    def run(self) -> ContentionResult:
        """Run the election; an expected event that does not happen is a fault, and ends it."""
        begun = clock.now()
        ended: set[str] = set()
        result = self._result
        try:
            leader = self._start()
            started = clock.now()
            leader = self._resign(leader, _LEAST_RESIGNATIONS)
            leader = self._kill(leader)
            leader = self._pause(leader)
            while clock.now() - started < self._seconds:
                leader = self._resign(leader, 1)
            self._progress(f"{len(result.resigned)} leaders resigned")
            time.sleep(_REST / 2)  # a time in which two leaders would be seen
            if self._processes.end():
                ended = set(NAMES) - self._killed.keys()
            else:
                result.faults.append("a candidate process did not stop when it was asked to")
        except ExpectationFailed as error:
            result.faults.append(str(error))
            self._processes.end()
        messages = self._processes.messages
        history = history_of(messages, killed=self._killed, ended=ended)
        result.faults += check_history(history)
        result.terms = sum(message.is_event("elected") for message in messages)
        result.readings = count_readings(messages)
        result.seconds = clock.now() - begun
        return result

    def _start(self) -> str:
        for name in NAMES:
            self._processes.start(name)
        for name in NAMES:
            self._wait(f"{name} starts", name, lambda _: True, _START_SECONDS)
        first = self._processes.wait(
            "one of them is elected", _ANSWER_SECONDS, lambda message: message.is_event("elected")
        )
        self._progress(f"four processes campaign, {first.name} is elected")
        return self._leader(first.at)

    def _resign(self, leader: str, times: int) -> str:
        for _ in range(times):
            time.sleep(
                _REST / (len(NAMES) - 1 - len(self._killed))
            )  # the cooldowns of the others end
            leader = self._leader(clock.now())
            at = self._processes.signal(leader, signal.SIGUSR1)
            what = f"after {leader} has resigned"
            leader, seconds = self._wait_successor(what, leader, at, _ANSWER_SECONDS)
            self._result.resigned.append(seconds)
        return leader

    def _kill(self, leader: str) -> str:
        self._progress(f"{leader}, the leader, is killed; at most {self._expiry:.1f} s to wait")
        at = self._killed[leader] = self._processes.signal(leader, signal.SIGKILL)
        what = f"after the leader, {leader}, has died"
        leader, seconds = self._wait_successor(what, leader, at, self._expiry + _SLACK)
        self._result.killed = seconds
        return leader

    def _pause(self, leader: str) -> str:
        self._progress(f"{leader}, the leader, is paused past its lease")
        time.sleep(_REST / 2)  # a time in which two leaders would be seen
        at = self._processes.signal(leader, signal.SIGSTOP)
        what = f"after the leader, {leader}, was paused"
        successor, seconds = self._wait_successor(what, leader, at, self._expiry + _SLACK)
        self._result.paused = seconds
        awake = self._processes.signal(leader, signal.SIGCONT)
        first = self._wait(
            f"{leader} wakes up after its pause",
            leader,
            lambda message: "woke" in message.fields and message.at > at,
        )
        if first.fields["is_leader"]:
            raise ExpectationFailed(f"{leader} read that it is leader when it woke up")
        self._wait(
            f"{leader} reports its loss, and campaigns again",
            leader,
            lambda message: message.is_event("campaigning") and message.at > awake,
        )
        return successor

    def _wait(
        self,
        what: str,
        name: str,
        matches: Callable[[Message], bool],
        seconds: float = _ANSWER_SECONDS,
    ) -> Message:
        return self._processes.wait(
            what, seconds, lambda message: message.name == name and matches(message)
        )

    def _wait_successor(
        self, what: str, leader: str, at: float, seconds: float
    ) -> tuple[str, float]:
        """Wait for the next leader; returns its name and how long that took."""
        elected = self._processes.wait(
            f"another one is elected {what}",
            seconds,
            lambda message: (
                message.is_event("elected") and message.name != leader and message.at > at
            ),
        )
        return elected.name, elected.at - at

    def _leader(self, at: float) -> str:
        """Return the name of the candidate that was elected last."""
        messages = self._processes.messages
        elected = [it for it in messages if it.is_event("elected") and it.at <= at]
        return max(elected, key=lambda message: message.at).name
