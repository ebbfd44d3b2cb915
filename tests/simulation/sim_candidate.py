"""A candidate in a simulated process, with its user."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from leadership_core.backend.event_count import Waits
from leadership_core.candidate import Candidate
from leadership_core.engine.lease import Lease
from leadership_core.errors import StoreClosed
from leadership_core.events import CandidateEvent, Lost, Resigned
from leadership_core.term import Term
from tests.support.internals import candidate_control, lease_of, term_state

from .server import KEY
from .sim_gates import SimProgram

if TYPE_CHECKING:
    from .node import Node

__all__ = ["ObservedTerm", "SimCandidate"]


@dataclass(slots=True)
class ObservedTerm:
    """A term, as its candidate began it."""

    who: str
    token: int
    since: float


@dataclass(eq=False)
class SimCandidate:
    """A candidate and its user.

    Attributes:
        program: the program around it.
        events: those that `Candidate.events` has yielded.
        heard: those that a listener was called with.
        stopped: the user has asked it to stop.
        left: and got the answer that no claim is left.
        ended: the iterator of its events has ended.
        busy: the term under which its work runs.
        work_until: time of its clock at which the work must have ended, since the term has.
    """

    node: Node
    name: str
    works: bool
    program: SimProgram
    candidate: Candidate | None = None
    events: list[CandidateEvent] = field(default_factory=list)
    heard: list[CandidateEvent] = field(default_factory=list)
    stopped: bool = False
    left: bool = False
    ended: bool = False
    busy: Term | None = None
    work_until: float = inf

    def start(self, ttl: float) -> None:
        """Campaign, and read the events to their end; in a task of the process."""
        run = self.node.run
        program = self.program
        candidate = Candidate(
            *(self.node.store, KEY, self.name),
            ttl=ttl,
            ready=program.ready if program.gated else None,
            watchdog=program.watchdog,
        )
        candidate.add_listener(self.heard.append)
        state = candidate_control(candidate).state
        begin, end = state.begin_term, state.end_term

        def begin_term(
            token: int, lease: Lease, renew: Callable[[float, float], Waits[None]]
        ) -> None:
            begin(token, lease, renew)
            run.checks.term_began(self, token)

        def end_term(event: Lost | Resigned) -> bool:
            # The work has until the end of the lease that it ran under, as that is now.
            if self.busy is not None:
                self.work_until = lease_of(self.busy).deadline
            run.checks.term_ends(self, event)
            return end(event)

        state.begin_term = begin_term  # type: ignore[method-assign]  # a stand-in for this test
        state.end_term = end_term  # type: ignore[method-assign]  # a stand-in for this test
        self.candidate = candidate
        if self.works:
            run.world.spawn(self.node.process, f"{self.name}-work", self._lead)
        for event in candidate.events():
            self.events.append(event)
            run.world.note(f"{self.name}: {event!r}")
        self.ended = True

    @property
    def started(self) -> Candidate:
        """The candidate, which must have been started."""
        assert self.candidate is not None
        return self.candidate

    def _lead(self) -> None:
        with contextlib.suppress(StoreClosed):
            self.started.lead(self._work, cooldown=self.node.run.world.rng.choice([0.0, 0.5]))

    def _work(self, term: Term) -> None:
        """Work that checks its term; now and then it notices the end late."""
        world = self.node.run.world
        until = world.now + world.rng.choice([0.3, 3.0, 30.0])
        program = self.program
        if program.watched:
            # The watchdog has counted from the beginning of the term.
            program.begin_work(term_state(term).alive_at)
        while world.now < until and not term.lost:
            if self.busy is not term:
                self.busy, self.work_until = term, inf
            world.sleep(min(0.2, max(term.remaining(), 0.01)))
            if program.watched:
                program.give_sign(term)
                if not self.node.run.calm and program.rng.random() < 0.03:
                    program.hang()
        if world.rng.random() < 0.3:
            world.sleep(world.rng.uniform(0, 0.5))
        self.busy = None
        program.alive_at = inf

    def leading_token(self, now: float | None = None) -> int | None:
        """The token of the term that it leads at this instant; also while the process is paused.

        Args:
            now: reading of the clock of the process, if the caller has it.
        """
        if self.candidate is None or self.node.process.dead:
            return None
        reign = candidate_control(self.candidate).state.current
        if reign is None or reign.state.ended:
            return None
        lease = lease_of(reign.term)
        if not lease.is_valid(self.node.clock() if now is None else now):
            return None
        return reign.term.token

    # -- calls of its user, each in a task of its own --------------------------------------------

    def resign(self, cooldown: float) -> None:
        """Resign, if it leads."""
        run, candidate = self.node.run, self.started
        term = candidate.term
        if term is None:
            return
        begun = self.node.clock()
        run.world.note(f"{self.name} resigns term {term.token}")
        try:
            confirmed = candidate.resign(cooldown)
        except StoreClosed:
            return
        if not term.lost and candidate.term is not None:
            assert candidate.term is not term, f"{self.name} still leads after resign()"
        if confirmed and term_state(term).released:
            assert run.server.token() != term.token, (
                f"resign() of {self.name} confirmed the release of term {term.token}, "
                "and its claim remains"
            )
        run.checks.check_duration(self, "resign", begun, candidate.ttl)
        run.checks.resigned.append((self, term.token))

    def stop(self, timeout: float | None = None) -> None:
        """Stop for good."""
        run, candidate = self.node.run, self.started
        if self.stopped:
            return
        self.stopped = True
        begun = self.node.clock()
        run.world.note(f"{self.name} stops")
        left = candidate.stop(timeout)
        assert candidate.term is None, f"{self.name} still leads after stop()"
        limit = candidate.ttl if timeout is None else timeout
        run.checks.check_duration(self, "stop", begun, limit)
        run.world.note(f"{self.name} has stopped: {left}")
        if left:
            self.confirm_left()

    def confirm_left(self) -> None:
        """Its user was assured that no claim is left: check that, and that none arrives later."""
        self.left = True
        run = self.node.run
        assert self.name.encode() not in run.server.holders(), (
            f"{self.name} was assured that no claim is left, and one remains"
        )
        run.server.departed[self.name.encode()] = run.world.now

    def leave_and_return(self, seconds: float) -> None:
        """Leave the election as at the exit of `leading`, and enter it again."""
        if self.stopped:
            return
        candidate = self.started
        candidate_control(candidate).leave()
        self.node.run.world.sleep(seconds)
        if not (self.stopped or self.node.closing):
            with contextlib.suppress(StoreClosed):
                candidate_control(candidate).start()
