"""Harness that drives one state machine of a candidate, without threads and I/O."""

from __future__ import annotations

import random

from leadership_core.backend.protocols import Claim, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.lease import Lease
from leadership_core.engine.messages import Phase
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.errors import StoreUnavailable
from leadership_core.events import (
    Event,
)

DOWN = StoreUnavailable("no answer")


class RenewableSession:
    """A session without a store."""

    id = "s"
    ttl = 9.0

    def renew(self) -> float:
        return 9.0

    def close(self) -> None:
        pass


class Harness:
    """Drives one state machine; `commands` and `events` are those of the last step.

    While it is `alone` in the queue of its key, its turn comes at once, and `commands` has none of the queue.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.now = 100.0
        self.alone = alone
        self.machine = CandidateStateMachine(9.0, random.Random(1))
        self.commands: list[messages.Command] = []
        self.events: list[Event] = []
        self.lease = self.new_lease()
        self.claim = Claim("key", RenewableSession(), b"me")

    def new_lease(self) -> Lease:
        lease = Lease(9.0, now=lambda: self.now)
        lease.acknowledge(self.now, 9.0)
        return lease

    def __call__(self, message: messages.Input, after: float = 0.0) -> list[type[messages.Command]]:
        self.now += after
        self.commands = self.machine.step(self.now, message)
        if self.alone and any(isinstance(one, messages.JoinQueue) for one in self.commands):
            self.commands += self.machine.step(self.now, messages.TurnGranted())
        if self.alone:
            queue = messages.JoinQueue | messages.LeaveQueue
            self.commands = [one for one in self.commands if not isinstance(one, queue)]
        self.events = [
            one.event for one in self.commands if isinstance(one, (messages.Emit, messages.EndTerm))
        ]
        return [type(one) for one in self.commands]

    @property
    def phase(self) -> Phase:
        return self.machine.phase

    @property
    def ticket(self) -> int:
        """The ticket of the request that the last step sent."""
        return next(
            one.ticket
            for one in self.commands
            if isinstance(one, messages.Enter | messages.QueryStatus | messages.Withdraw)
        )

    def checking_readiness(self) -> Harness:
        self.machine = CandidateStateMachine(9.0, random.Random(1), gated=True)
        assert self(messages.Start()) == [messages.CheckReadiness]
        return self

    def opening_session(self) -> Harness:
        assert self(messages.Start()) == [messages.Emit, messages.AcquireSession]
        return self

    def queued(self) -> Harness:
        self.opening_session()
        self.alone = False
        assert self(messages.SessionReady(self.lease)) == [messages.JoinQueue]
        return self

    def entering(self) -> Harness:
        if self.alone:
            self.opening_session()
            assert self(messages.SessionReady(self.lease)) == [messages.Enter]
        else:
            self.queued()
            assert self(messages.TurnGranted()) == [messages.Enter]
        return self

    def waiting(self) -> Harness:
        self.entering()
        assert self(messages.Entered(self.ticket, self.claim)) == [messages.QueryStatus]
        asked = self.ticket
        assert self(messages.StatusReceived(asked, Waiting())) == []
        return self

    def leading(self, token: int = 7) -> Harness:
        self.waiting()
        assert self(messages.StatusChanged()) == [messages.QueryStatus]
        assert self(messages.StatusReceived(self.ticket, Leading(token))) == [messages.BeginTerm]
        return self

    def draining(self) -> Harness:
        self.leading()
        self(messages.Resign(7, 2.0))
        return self

    def withdrawing(self) -> Harness:
        self.draining()
        assert messages.Withdraw in self(messages.WorkFinished())
        return self

    def backing_off(self) -> Harness:
        self.withdrawing()
        self(messages.Withdrawn(self.ticket))
        return self

    def at(self, phase: Phase) -> Harness:
        if phase is not Phase.IDLE:
            getattr(self, phase.name.lower())()
        assert self.phase is phase
        return self
