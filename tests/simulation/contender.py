"""One candidate in a simulated process, with its user, and what both were told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from leadership_core.candidate import Candidate
from leadership_core.errors import StoreClosed
from leadership_core.events import Event, Lost, Resigned
from leadership_core.lease import Lease
from leadership_core.term import Term

from .server import KEY

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Contender", "Reign"]


@dataclass(slots=True)
class Reign:
    """A term, as its candidate had it."""

    who: str
    token: int
    since: float


@dataclass(eq=False)
class Contender:
    """A candidate and its user.

    Attributes:
        told: its events, as its user got them.
        reigns: its terms.
        stopped: the user has asked it to stop.
        left: and was told that nothing is left.
        ended: its events have come to their end.
        busy: the term that its work is done under.
        work_until: when, on its clock, the work must have ended since the term has.
    """

    node: Node
    name: str
    works: bool
    candidate: Candidate = field(init=False)
    told: list[Event] = field(default_factory=list)
    reigns: list[Reign] = field(default_factory=list)
    stopped: bool = False
    left: bool = False
    ended: bool = False
    busy: Term | None = None
    work_until: float = inf

    def start(self, ttl: float) -> None:
        """Stand; in a task of the process."""
        run = self.node.run
        self.candidate = Candidate(self.node.store, KEY, self.name, ttl=ttl)
        tenure = self.candidate._tenure
        begin = tenure.begin_term

        def begin_term(token: int, lease: Lease, renew: Callable[[float, float], None]) -> None:
            begin(token, lease, renew)
            run.checks.began(self, token)

        end = tenure.end_term

        def end_term(event: Lost | Resigned) -> bool:
            # The work has until the end of the lease that it was done under, as it is now.
            if self.busy is not None:
                self.work_until = self.busy._state.lease.deadline
            return end(event)

        tenure.begin_term = begin_term  # type: ignore[method-assign]
        tenure.end_term = end_term  # type: ignore[method-assign]
        if self.works:
            run.world.spawn(self.node.process, f"{self.name}-work", self._lead)
        for event in self.candidate.events():
            self.told.append(event)
            run.world.note(f"{self.name} tells {event!r}")
        self.ended = True

    def _lead(self) -> None:
        with contextlib.suppress(StoreClosed):
            self.candidate.lead(self._work, cooldown=self.node.run.world.rng.choice([0.0, 0.5]))

    def _work(self, term: Term) -> None:
        """Work that looks whether it may go on; now and then it is slow to see that it may not."""
        world = self.node.run.world
        until = world.now + world.rng.choice([0.3, 3.0, 30.0])
        while world.now < until and not term.lost:
            if self.busy is not term:
                self.busy, self.work_until = term, inf
            world.sleep(min(0.2, max(term.remaining(), 0.01)))
        if world.rng.random() < 0.3:
            world.sleep(world.rng.uniform(0, 0.5))
        self.busy = None

    def lease(self) -> Lease | None:
        """That of its term, if it has one."""
        reign = self.candidate._tenure.reign if hasattr(self, "candidate") else None
        return None if reign is None or reign.state.ended else reign.state.lease

    def believes(self) -> int | None:
        """The token of the term that it would say it leads for, at this instant."""
        tenure = self.candidate._tenure
        reign = tenure.reign
        if reign is None or reign.state.ended or self.node.process.dead:
            return None
        term, lease = reign.term, reign.state.lease
        if lease.over is not None or self.node.clock() >= lease.deadline:
            return None
        return term.token

    # -- what its user does; each in a task of its own ------------------------------------------

    def resign(self, cooldown: float) -> None:
        """Resign, if it leads."""
        run, world = self.node.run, self.node.run.world
        term = self.candidate.term
        if term is None:
            return
        begun = self.node.clock()
        world.note(f"{self.name} resigns term {term.token}")
        try:
            confirmed = self.candidate.resign(cooldown)
        except StoreClosed:
            return
        if not term.lost and self.candidate.term is not None:
            assert self.candidate.term is not term, f"{self.name} still leads after resign()"
        if confirmed and term._state.released:
            assert run.server.token() != term.token, (
                f"{self.name} was told that term {term.token} was released, and it stands"
            )
        run.checks.bounded(self, "resign", begun, self.candidate.ttl)
        run.checks.resigned.append((self, term.token))

    def stop(self, timeout: float | None = None) -> None:
        """Stop for good."""
        run = self.node.run
        if self.stopped:
            return
        self.stopped = True
        begun = self.node.clock()
        run.world.note(f"{self.name} stops")
        left = self.candidate.stop(timeout)
        assert self.candidate.term is None, f"{self.name} still leads after stop()"
        limit = self.candidate.ttl if timeout is None else timeout
        run.checks.bounded(self, "stop", begun, limit)
        run.world.note(f"{self.name} has stopped: {left}")
        if left:
            self._gone()

    def _gone(self) -> None:
        self.left = True
        run = self.node.run
        assert self.name.encode() not in run.server.holders(), (
            f"{self.name} was told that nothing is left of it, and a claim stands"
        )
        run.server.forbidden[self.name.encode()] = run.world.now

    def leave_for_a_while(self, seconds: float) -> None:
        """What the exit of `leading` does, and its next entry."""
        if self.stopped:
            return
        self.candidate._leave()
        self.node.run.world.sleep(seconds)
        if not (self.stopped or self.node.closing):
            with contextlib.suppress(StoreClosed):
                self.candidate._candidacy.start()

    def story(self) -> list[Event]:
        """Its events; the ends of terms are never missing in it."""
        return [event for event in self.told if isinstance(event, Event)]
