"""Decisions of `leadership run`: what follows from an event, a signal, or the end of the child.

Without I/O and without a clock: messages go in, commands come out.

    waiting ── Elected ──► running ── lost, asked, a signal ──► ending ── ChildEnded ──► waiting, finished
                              └────── ChildEnded by itself ─────────────────────────────► finished

The claim is given up only after the child has ended: `Resign` and `Finish` are never commanded while
there may be one.
"""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

__all__ = [
    "ENDING_SIGNALS",
    "Abort",
    "CandidateEnded",
    "ChildEnded",
    "ChildExpiring",
    "ChildFailed",
    "ChildRefused",
    "ChildStarted",
    "ChildStopped",
    "Command",
    "EndChild",
    "Finish",
    "ForwardSignal",
    "GuardLost",
    "Message",
    "Resign",
    "SignalReceived",
    "StartChild",
    "Supervisor",
    "TermBegun",
    "TermOver",
    "exit_code_of",
]

ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Signals that end `leadership run`, after they were passed on to the child."""

_NOT_FOUND, _NOT_EXECUTABLE, _FAILED = 127, 126, 1  # exit codes; the first two are the shell's


@dataclass(frozen=True, slots=True)
class TermBegun:
    """The candidate was elected."""

    token: int


@dataclass(frozen=True, slots=True)
class TermOver:
    """A term is over: lost, or resigned.

    Attributes:
        token: its token; None means the latest one.
    """

    token: int | None = None


@dataclass(frozen=True, slots=True)
class CandidateEnded:
    """The candidate has ended, by this error or without one."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """`leadership run` has received a signal."""

    number: int


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The command runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """The command could not be started: in this step, "fork" or "exec", with this error number."""

    step: str
    number: int


@dataclass(frozen=True, slots=True)
class ChildRefused:
    """The command was not started, since too little was left of the lease."""


@dataclass(frozen=True, slots=True)
class ChildExpiring:
    """The child was asked to end, since the lease was not renewed in time."""


@dataclass(frozen=True, slots=True)
class ChildStopped:
    """The child was stopped, by this signal."""

    number: int


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """The child has ended, and nothing that it has started is left.

    Attributes:
        code: its exit code, or the number of a signal, negated.
        was_asked: whether it was asked to end before that.
    """

    code: int
    was_asked: bool


@dataclass(frozen=True, slots=True)
class GuardLost:
    """The guard of the child has ended; so has the child, and nothing that it has started is left."""


Message: TypeAlias = (
    TermBegun
    | TermOver
    | CandidateEnded
    | SignalReceived
    | ChildStarted
    | ChildFailed
    | ChildRefused
    | ChildExpiring
    | ChildStopped
    | ChildEnded
    | GuardLost
)


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the command for the term of this token; answered by `ChildRefused` if that is over."""

    token: int


@dataclass(frozen=True, slots=True)
class EndChild:
    """Send this signal to the child, and kill it when the grace is over.

    Attributes:
        number: the signal.
        kill: at once, without a grace.
    """

    number: int
    kill: bool = False


@dataclass(frozen=True, slots=True)
class ForwardSignal:
    """Send this signal to the child, which may go on."""

    number: int


@dataclass(frozen=True, slots=True)
class Resign:
    """Give up the term, and campaign again later."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Leave the election, and exit with this code, or by this error."""

    code: int
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Exit at once with this code."""

    code: int


Command: TypeAlias = StartChild | EndChild | ForwardSignal | Resign | Finish | Abort


def exit_code_of(code: int) -> int:
    """Return the exit code of a shell for a child that has ended so."""
    return 128 - code if code < 0 else code


class _Phase(Enum):
    WAITING = auto()
    RUNNING = auto()
    ENDING = auto()
    FINISHED = auto()


class Supervisor:
    """Decides what happens to the child and to the claim.

    Args:
        once: whether it finishes after the first term.
    """

    def __init__(self, *, once: bool) -> None:
        self._once = once
        self._phase = _Phase.WAITING
        self._token = 0  # of the child's term
        self._next_token: int | None = None  # of a term that has begun before the child has ended
        self._is_over = False  # the child's term
        self._once_code = _FAILED  # the exit code of --once
        self._finish: Finish | None = None  # what to do when the child has ended
        self._signals = 0  # of those that end

    @property
    def has_child(self) -> bool:
        """Whether there may be a child."""
        return self._phase in {_Phase.RUNNING, _Phase.ENDING}

    @property
    def is_finished(self) -> bool:
        """Whether it has commanded `Finish`."""
        return self._phase is _Phase.FINISHED

    def step(self, message: Message) -> list[Command]:
        """Return what to do after this message, in order."""
        match message:
            case TermBegun(token):
                return self._begin(token)
            case TermOver(token):
                return self._end_term(token)
            case SignalReceived(number):
                return self._receive(number)
            case CandidateEnded(error):
                finish = Finish(_FAILED, error)
                if self._phase is _Phase.FINISHED:
                    return []
                if not self.has_child:
                    return self._finish_with(finish)
                self._finish = self._finish or finish
                return self._kill()
            case ChildExpiring() if self._phase is _Phase.RUNNING:
                self._phase = _Phase.ENDING
            case ChildEnded() | ChildFailed() | ChildRefused() | GuardLost() if self.has_child:
                return self._after_child(message)
            case _:
                pass
        return []

    def _begin(self, token: int) -> list[Command]:
        if self.has_child:
            self._next_token = token
        elif self._phase is _Phase.WAITING:
            self._phase, self._token, self._is_over = _Phase.RUNNING, token, False
            return [StartChild(token)]
        return []

    def _end_term(self, token: int | None) -> list[Command]:
        if token is None:
            self._next_token = None
        if not self.has_child or self._is_over or token not in {None, self._token}:
            return []
        # Another leader may come at any moment, or has come: no grace is left.
        self._is_over = True
        return self._kill()

    def _kill(self) -> list[Command]:
        self._phase = _Phase.ENDING
        return [EndChild(signal.SIGKILL, kill=True)]

    def _receive(self, number: int) -> list[Command]:
        if number in ENDING_SIGNALS:
            return self._receive_ending(number)
        if not self.has_child:
            return []
        if number != signal.SIGUSR1:
            return [ForwardSignal(number)]
        if self._phase is _Phase.ENDING:
            return []
        self._phase, self._once_code = _Phase.ENDING, 0
        return [EndChild(signal.SIGTERM)]

    def _receive_ending(self, number: int) -> list[Command]:
        self._signals += 1
        finish = Finish(128 + number)
        if self._phase is _Phase.FINISHED or self._signals > 2:
            return [Abort(finish.code)]
        if not self.has_child:
            return self._finish_with(finish)
        if self._signals > 1:
            return self._kill()
        self._phase = _Phase.ENDING
        self._finish = finish
        return [EndChild(number)]

    def _finish_with(self, finish: Finish) -> list[Command]:
        self._phase = _Phase.FINISHED
        return [finish]

    def _after_child(
        self, message: ChildEnded | ChildFailed | ChildRefused | GuardLost
    ) -> list[Command]:
        match message:
            case ChildEnded(code, was_asked=False):
                return self._finish_with(Finish(exit_code_of(code)))
            case ChildFailed("exec", number):
                missing = number in {errno.ENOENT, errno.ENOTDIR}
                return self._finish_with(Finish(_NOT_FOUND if missing else _NOT_EXECUTABLE))
            case _:
                pass
        if self._finish is not None:
            return self._finish_with(self._finish)
        if self._once and not isinstance(message, ChildRefused):
            return self._finish_with(Finish(self._once_code))
        self._phase, self._once_code = _Phase.WAITING, _FAILED
        token, self._next_token = self._next_token, None
        if token is not None:
            return self._begin(token)
        return [] if self._is_over else [Resign()]
