"""What the demo shows, step by step; whatever does not happen ends it with `NotSeen`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..narrator import Narrator
from ..troupe import Line, NotSeen, Troupe

__all__ = ["NAMES", "Story"]

NAMES = ("node-1", "node-2", "node-3")

_START_SECONDS = 15.0  # three interpreters on a busy machine
_ANSWER_SECONDS = 5.0  # what needs no lease to end
_REIGN_SECONDS = 1.0  # for each leader, to be seen


@dataclass(frozen=True, slots=True)
class _Elected:
    """How somebody came to lead."""

    how: str
    name: str
    token: int
    seconds: float


class Story:
    """Three candidates: one is killed, one is paused, one resigns.

    Args:
        troupe: the candidates.
        narrator: says what happens.
        expires: seconds after which the store has ended a silent claim at the latest.
    """

    def __init__(self, troupe: Troupe, narrator: Narrator, expires: float) -> None:
        self._troupe = troupe
        self._tell = narrator.tell
        self._expires = expires
        self._elections: list[_Elected] = []
        self._killed: dict[str, float] = {}
        self._begun = time.monotonic()

    def run(self) -> None:
        """Show all of it.

        Raises:
            NotSeen: something did not happen; the message says what.
        """
        leader = self._elect()
        for step in (self._kill, self._pause, self._resign):
            time.sleep(_REIGN_SECONDS)
            leader = step(leader)
        time.sleep(_REIGN_SECONDS)
        self._end()
        self._sum_up()

    # -- the steps -----------------------------------------------------------------------------

    def _elect(self) -> str:
        self._tell(
            "start",
            f"\n1. Three candidates stand for election: {', '.join(NAMES)}.",
            candidates=NAMES,
        )
        for name in NAMES:
            self._troupe.start(name)
        for name in NAMES:
            self._troupe.wait(
                f"{name} campaigns",
                _START_SECONDS,
                partial(_campaigns, name),
            )
        begun = min(line.at for line in self._troupe.lines if line.is_event("campaigning"))
        elected = self._successor("an election", begun, None, _ANSWER_SECONDS)
        time.sleep(_REIGN_SECONDS)  # the others have every chance to be elected as well
        if [line for line in self._troupe.lines if line.is_event("elected")] != [elected]:
            raise NotSeen("exactly one is elected: there were several")
        self._note("at the start", elected, elected.at - begun)
        self._tell(
            "elected",
            f"   {elected.name} is elected, token {_token(elected)}. The others wait.",
            leader=elected.name,
            token=_token(elected),
        )
        return elected.name

    def _kill(self, leader: str) -> str:
        self._tell(
            "kill",
            f"\n2. {leader} is killed (SIGKILL). It cannot say so: its lease has to end, which takes"
            f"\n   at most {self._expires:.1f} s.",
            leader=leader,
        )
        at = self._killed[leader] = self._troupe.signal(leader, signal.SIGKILL)
        return self._succeed("after SIGKILL", leader, at, self._expires + 1.0)

    def _pause(self, leader: str) -> str:
        self._tell(
            "pause",
            f"\n3. {leader} is paused (SIGSTOP) until its lease is over. It does not know what happens.",
            leader=leader,
        )
        at = self._troupe.signal(leader, signal.SIGSTOP)
        successor = self._succeed("after SIGSTOP", leader, at, self._expires + 1.0)
        since = len(self._troupe.lines)
        awake = self._troupe.signal(leader, signal.SIGCONT)
        look = self._after(
            f"{leader} wakes up", leader, since, lambda line: "woke" in line.said, awake
        )
        if look.said["is_leader"]:
            raise NotSeen(f"{leader} knows that it does not lead: its first look said it does")
        lost = self._after(
            f"{leader} says lost", leader, since, lambda line: line.is_event("lost"), awake
        )
        self._after(
            f"{leader} campaigns again",
            leader,
            since,
            lambda line: line.is_event("campaigning") and line.at > lost.at,
            awake,
        )
        self._tell(
            "continue",
            f"   {leader} goes on (SIGCONT). Its first look, after a pause of {look.said['woke']:.1f} s:"
            f" is_leader is False.\n   It says: lost, {lost.said['reason']}. It campaigns again.",
            leader=leader,
            is_leader=False,
            paused=round(look.said["woke"], 3),
            reason=lost.said["reason"],
        )
        return successor

    def _resign(self, leader: str) -> str:
        self._tell(
            "resign",
            f"\n4. {leader} resigns (SIGUSR1). Nobody has to wait for a lease.",
            leader=leader,
        )
        since = len(self._troupe.lines)
        at = self._troupe.signal(leader, signal.SIGUSR1)
        self._after(f"{leader} resigns", leader, since, lambda line: line.is_event("resigned"), at)
        return self._succeed("after a resign", leader, at, _ANSWER_SECONDS)

    def _end(self) -> None:
        if not self._troupe.end():
            raise NotSeen("all stop: one of the candidates had to be killed")

    def _sum_up(self) -> None:
        # Only here: it takes a while to import, and no other command needs it.
        from ..evidence import check_history, history_of, readings

        lines = self._troupe.lines
        ended = set(NAMES) - self._killed.keys()
        history = history_of(lines, killed=self._killed, ended=ended)
        if faults := check_history(history):
            raise NotSeen(f"one leader at a time, and growing tokens: {faults[0]}")
        if not {one.token for one in self._elections} <= {it.token for it in history.beliefs}:
            raise NotSeen("every leader reads its own is_leader: one has never seen it true")
        table = [
            f"   {one.how:<15} {one.name:<8} {one.token:>6}  {_duration(one.seconds)}"
            for one in self._elections
        ]
        conclusion = (
            "All of it happened. No two of them believed to lead at one time (those who did read it"
            f"\n{readings(lines):,} times), and each term had a larger token."
            f" It took {time.monotonic() - self._begun:.0f} s."
        )
        self._tell(
            "summary",
            "\n".join(["\n   elected         who       token  after", *table, "", conclusion]),
            elections=[
                {
                    "how": one.how,
                    "leader": one.name,
                    "token": one.token,
                    "seconds": round(one.seconds, 4),
                }
                for one in self._elections
            ],
            terms=len(history.beliefs),
            overlaps=0,
        )

    # -- what they are made of -------------------------------------------------------------------

    def _succeed(self, how: str, leader: str, at: float, seconds: float) -> str:
        """Wait for the next leader after `leader`; says and notes it, and returns its name."""
        elected = self._successor(f"a successor of {leader}", at, leader, seconds)
        self._note(how, elected, elected.at - at)
        self._tell(
            "elected",
            f"   {elected.name} is elected after {_duration(elected.at - at)},"
            f" token {_token(elected)}.",
            leader=elected.name,
            token=_token(elected),
            seconds=round(elected.at - at, 4),
        )
        return elected.name

    def _successor(self, what: str, at: float, leader: str | None, seconds: float) -> Line:
        return self._troupe.wait(
            what,
            seconds,
            lambda line: line.is_event("elected") and line.name != leader and line.at > at,
        )

    def _after(
        self, what: str, name: str, since: int, wanted: Callable[[Line], bool], at: float
    ) -> Line:
        return self._troupe.wait(
            what,
            _ANSWER_SECONDS,
            lambda line: line.name == name and wanted(line) and line.at >= at,
            since=since,
        )

    def _note(self, how: str, elected: Line, seconds: float) -> None:
        self._elections.append(_Elected(how, elected.name, _token(elected), seconds))


def _campaigns(name: str, line: Line) -> bool:
    return line.name == name and line.is_event("campaigning")


def _token(line: Line) -> int:
    return int(line.said["token"])


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1000:.1f} ms"
