"""Decisions of `leadership run`, without a process."""

from __future__ import annotations

import errno
import random
import signal
from typing import Any

import pytest

from leadership_core.cli.supervisor import (
    Abort,
    CandidateEnded,
    ChildEnded,
    ChildExpiring,
    ChildFailed,
    ChildRefused,
    ChildStarted,
    EndChild,
    Finish,
    ForwardSignal,
    GuardLost,
    Message,
    Resign,
    SignalReceived,
    StartChild,
    Supervisor,
    TermBegun,
    TermOver,
)

KILL = EndChild(signal.SIGKILL, kill=True)
TERM, INT, USR1 = (SignalReceived(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
ASKED = ChildEnded(-15, was_asked=True)


def after(*messages: Message, once: bool = False) -> list[Any]:
    """What the last of these messages leads to."""
    supervisor = Supervisor(once=once)
    commands: list[Any] = []
    for message in messages:
        commands = supervisor.step(message)
    return commands


BEGUN = (TermBegun(3), ChildStarted(10))


@pytest.mark.parametrize(
    ("messages", "commands"),
    [
        ([TermBegun(3)], [StartChild(3)]),
        ([*BEGUN, ChildEnded(0, was_asked=False)], [Finish(0)]),
        ([*BEGUN, ChildEnded(3, was_asked=False)], [Finish(3)]),
        ([*BEGUN, ChildEnded(-9, was_asked=False)], [Finish(137)]),
        ([*BEGUN, TermOver()], [KILL]),
        ([*BEGUN, TermOver(3)], [KILL]),
        ([*BEGUN, TermOver(2)], []),
        ([*BEGUN, TermOver(3), TermOver()], []),
        ([*BEGUN, TermOver(), ASKED], []),
        ([*BEGUN, TermOver(), ASKED, TermBegun(5)], [StartChild(5)]),
        ([*BEGUN, TermOver(), TermBegun(5)], []),
        ([*BEGUN, TermOver(), TermBegun(5), ASKED], [StartChild(5)]),
        ([*BEGUN, TermOver(), TermBegun(5), TermOver(), ASKED], []),
        ([*BEGUN, TermOver(), ChildEnded(3, was_asked=False)], [Finish(3)]),
        ([*BEGUN, ChildExpiring()], []),
        ([*BEGUN, ChildExpiring(), ASKED], [Resign()]),
        ([*BEGUN, ChildExpiring(), TermOver()], [KILL]),
        ([*BEGUN, ChildExpiring(), TermOver(), ASKED], []),
        ([*BEGUN, GuardLost()], [Resign()]),
        ([*BEGUN, ChildRefused()], [Resign()]),
        ([TermBegun(3), ChildFailed("exec", errno.ENOENT)], [Finish(127)]),
        ([TermBegun(3), ChildFailed("exec", errno.EACCES)], [Finish(126)]),
        ([TermBegun(3), ChildFailed("exec", errno.ENOEXEC)], [Finish(126)]),
        ([TermBegun(3), ChildFailed("fork", errno.EAGAIN)], [Resign()]),
        ([TERM], [Finish(143)]),
        ([TERM, TERM], [Abort(143)]),
        ([*BEGUN, TERM], [EndChild(signal.SIGTERM)]),
        ([*BEGUN, INT], [EndChild(signal.SIGINT)]),
        ([*BEGUN, TERM, ASKED], [Finish(143)]),
        ([*BEGUN, TERM, ChildEnded(0, was_asked=True)], [Finish(143)]),
        ([*BEGUN, TERM, ChildEnded(4, was_asked=False)], [Finish(4)]),
        ([*BEGUN, TERM, INT], [KILL]),
        ([*BEGUN, TERM, INT, TERM], [Abort(143)]),
        ([*BEGUN, TERM, INT, ASKED], [Finish(143)]),
        ([*BEGUN, TERM, TermOver(), TermBegun(5), ASKED], [Finish(143)]),
        ([*BEGUN, USR1], [EndChild(signal.SIGTERM)]),
        ([*BEGUN, USR1, USR1], []),
        ([*BEGUN, USR1, ASKED], [Resign()]),
        ([*BEGUN, USR1, TERM], [EndChild(signal.SIGTERM)]),
        ([*BEGUN, USR1, TERM, ASKED], [Finish(143)]),
        ([USR1], []),
        ([*BEGUN, SignalReceived(signal.SIGWINCH)], [ForwardSignal(signal.SIGWINCH)]),
        ([SignalReceived(signal.SIGWINCH)], []),
        ([CandidateEnded()], [Finish(1)]),
        ([*BEGUN, CandidateEnded()], [KILL]),
        ([*BEGUN, CandidateEnded(), ASKED], [Finish(1)]),
        ([TERM, CandidateEnded()], []),
    ],
)
def test_supervisor_commands(messages: list[Message], commands: list[Any]) -> None:
    """What follows from the last message, after those before it."""
    assert after(*messages) == commands


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([TermOver(), ASKED], 1),
        ([ChildExpiring(), ASKED], 1),
        ([GuardLost()], 1),
        ([USR1, ASKED], 0),
        ([ChildEnded(2, was_asked=False)], 2),
        ([TERM, ASKED], 143),
    ],
)
def test_once_finishes_after_the_first_term(messages: list[Message], code: int) -> None:
    """Whatever has ended it."""
    assert after(*BEGUN, *messages, once=True) == [Finish(code)]


@pytest.mark.parametrize("seed", range(20))
def test_claim_is_given_up_without_a_child_only(seed: int) -> None:
    """In any order of messages: a child is started when there is none, and ends before the release."""
    rng = random.Random(seed)
    supervisor = Supervisor(once=False)
    token, has_child, is_over = 0, False, True
    for _ in range(500):
        choices: list[Message] = [TERM, USR1, SignalReceived(signal.SIGWINCH), TermOver()]
        choices += [CandidateEnded()] * (rng.random() < 0.1)
        if is_over:
            choices.append(TermBegun(token + 1))
        if has_child:
            ended = ChildEnded(rng.choice([0, 3, -9]), was_asked=rng.random() < 0.8)
            choices += [ended, ChildExpiring(), GuardLost(), ChildFailed("fork", 11)]
        message = rng.choice(choices)
        if isinstance(message, TermBegun):
            token, is_over = message.token, False
        elif isinstance(message, TermOver):
            is_over = True
        elif isinstance(message, ChildEnded | GuardLost | ChildFailed):
            has_child = False
        for command in supervisor.step(message):
            if isinstance(command, StartChild):
                assert not has_child
                assert not is_over
                assert command.token == token
                has_child = True
            elif isinstance(command, Resign | Finish):
                assert not has_child
            elif isinstance(command, EndChild | ForwardSignal):
                assert has_child
            is_over = is_over or isinstance(command, Resign)
        assert supervisor.has_child == has_child
        if supervisor.is_finished:
            supervisor, token, is_over = Supervisor(once=False), 0, True
