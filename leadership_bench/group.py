"""Group: all candidates of one contender for one key, in one process or in many."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .children import Child, Children
from .contenders import Contender
from .servers import Target

__all__ = ["Dropped", "Group", "TooMany"]

_START_SECONDS = 60.0  # many interpreters on a busy machine
_SETTLE_SECONDS = (
    0.3  # from an election to the next resignation, for the former leader to come back
)


class Dropped(Exception):
    """A contender cannot take part in a case; the message says why."""


class TooMany(Dropped):
    """More candidates in one process than a contender is measured with."""


class _Member:
    """A process with candidates."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.is_ready = False


class Group:
    """Candidates of one contender for one key.

    Args:
        children: reads the processes.
        contender: whose candidates.
        target: the store.
        key: of their election.

    Attributes:
        seen: the leaders that followers have reported, each with the time.
    """

    def __init__(self, children: Children, contender: Contender, target: Target, key: str) -> None:
        self.contender: Contender = contender
        self.target: Target = target
        self.key: str = key
        self.seen: list[tuple[str, float]] = []
        self._children = children
        self._members: list[_Member] = []
        self._leader: _Member | None = None
        self._elected_at, self._elected_stamp, self._resigned_stamp = 0.0, 0.0, 0.0
        self._all_at = 0.0
        self._failure = ""
        self._is_ending = False

    # -- the processes ----------------------------------------------------------------------------

    def start(self, processes: int, per_process: int) -> None:
        """Start so many processes with so many candidates each; returns when one leads.

        Raises:
            Dropped: there is no leader in time, or the contender reports an error.
        """
        if per_process > self.contender.most:
            raise TooMany
        self.open(processes)
        self.join(0, per_process)
        self.await_leader()
        for number in range(1, processes):
            self.join(number, per_process)

    def open(self, processes: int) -> None:
        """Start so many processes; returns when each could campaign."""
        self._members = [_Member(number) for number in range(processes)]
        if self.contender.is_command:
            return
        for member in self._members:
            self._start_player(member)
        self._await(lambda: all(member.is_ready for member in self._members), "it does not start")

    def join(self, number: int, count: int) -> None:
        """Let the candidates of a process campaign."""
        if self.contender.is_command:
            self._start_command(self._members[number])
        else:
            self._send(number, f"join {self.key} {count}")

    def await_leader(self, seconds: float = _START_SECONDS) -> None:
        """Wait until one leads."""
        self._await(lambda: self._leader is not None, "no candidate is elected", seconds)

    def follow(self) -> None:
        """Let the first process follow the key."""
        self._send(0, f"follow {self.key}")

    def elect_all(self, count: int, seconds: float) -> float:
        """Let the first process campaign for so many keys; returns the seconds until it leads all.

        Raises:
            Dropped: that takes longer than so many seconds.
        """
        if count > self.contender.most:
            raise TooMany
        self._all_at = 0.0
        begun = time.monotonic()
        self._send(0, f"elections {self.key} {count}")
        self._await(lambda: self._all_at > 0, f"not all of {count} are elected", seconds)
        return self._all_at - begun

    @property
    def pid(self) -> int:
        """The id of the first process."""
        child = self._members[0].child
        assert child is not None
        return child.pid

    @property
    def pids(self) -> list[int]:
        """The ids of all processes."""
        return [member.child.pid for member in self._members if member.child]

    def end(self) -> None:
        """End all processes; they may clean up."""
        self._is_ending = True
        self._children.end(member.child for member in self._members if member.child)

    @contextmanager
    def running(self) -> Iterator[Group]:
        """End it at the end of the block."""
        try:
            yield self
        finally:
            self.end()

    # -- what is measured -------------------------------------------------------------------------

    def hand_over(self, limit: float) -> float:
        """Let the leader resign, and return the seconds until the next one is elected.

        With several processes both times are those of this process, which sends the line or the signal and
        reads the next leader's. Within one process they are those of that process.

        Raises:
            Dropped: no other is elected within the limit.
        """
        self._children.wait(
            lambda: time.monotonic() > self._elected_at + _SETTLE_SECONDS, _SETTLE_SECONDS
        )
        self.await_leader(limit)
        leader, before = self._leader, self._elected_at
        assert leader is not None
        assert leader.child is not None
        self._leader = None
        begun = time.monotonic()
        if self.contender.is_command:
            leader.child.signal(signal.SIGTERM)
        else:
            leader.child.send("resign")
        self._await(lambda: self._elected_at > before, "no other is elected", limit)
        if len(self._members) == 1:
            return self._elected_stamp - self._resigned_stamp
        return self._elected_at - begun

    def crash(self) -> float:
        """Kill the leader's process (SIGKILL), and return the time of that."""
        self.await_leader()
        leader, self._leader = self._leader, None
        assert leader is not None
        assert leader.child is not None
        child, leader.child = leader.child, None
        return self._children.kill(child)

    def elected_since(self, at: float) -> float | None:
        """When a leader was elected after that time; None if there was none."""
        return self._elected_at if self._elected_at > at and self._leader else None

    # -- lines ------------------------------------------------------------------------------------

    def _start_player(self, member: _Member) -> None:
        words, first_line = self.contender.player(self.target)
        member.child = self._children.add(
            Child(
                words,
                lambda line, at: self._on_line(member, line.split(), at),
                lambda: self._ended(member),
                environment=self.contender.environment,
                first_line=first_line,
            )
        )

    def _start_command(self, member: _Member) -> None:
        assert self.contender.command is not None
        parse = self.contender.parse
        member.child = self._children.add(
            Child(
                [
                    self.contender.program,
                    *self.contender.command(self.key, f"candidate-{member.number}"),
                ],
                lambda line, at: self._on_line(member, [*parse(line).split(), f"{at:.9f}"], at),
                lambda: self._ended(member),
                environment=self.contender.environment,
            )
        )

    def _send(self, number: int, line: str) -> None:
        child = self._members[number].child
        if child is not None:
            child.send(line)

    def _on_line(self, member: _Member, words: Sequence[str], at: float) -> None:
        match words:
            case ["ready", _]:
                member.is_ready = True
            case ["elected", _, stamp]:
                self._leader, self._elected_at, self._elected_stamp = member, at, float(stamp)
            case ["resigning", stamp]:
                self._resigned_stamp = float(stamp)
            case ["all", _]:
                self._all_at = at
            case ["leader", value, _]:
                self.seen.append((value, at))
            case ["error", *text, _]:
                self._failure = " ".join(text)

    def _ended(self, member: _Member) -> None:
        child, member.child = member.child, None
        if self._is_ending or child is None:
            return
        if self.contender.is_command:
            self._start_command(member)  # the candidate has resigned, and campaigns again
        elif not self._failure:
            self._failure = f"its process has ended: {child.errors() or 'without a message'}"

    def _await(self, done: object, problem: str, seconds: float = _START_SECONDS) -> None:
        assert callable(done)
        self._children.wait(lambda: bool(done()) or bool(self._failure), seconds)
        if self._failure:
            raise Dropped(self._failure)
        if not done():
            raise Dropped(f"{problem} within {seconds:g} s")
