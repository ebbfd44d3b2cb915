"""A simulated process: an open store, its candidates and a follower."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from leadership_core.backend import Claim, Leader, Session
from leadership_core.engine.store_base import internals
from leadership_core.errors import StoreClosed
from leadership_core.follower import Follower
from leadership_core.store import Store
from tests.support.internals import let_go

from .kernel import Process
from .network import Link
from .server import KEY
from .sim_candidate import SimCandidate
from .sim_gates import SimProgram

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Node"]


class Node:
    """One process.

    Args:
        run: the run that it belongs to.
        name: unique in the run, also among killed processes.
        rate: of its clock.
        candidates: how many candidates it has.
        follows: whether it has a follower.
        works: whether its candidates run work with `lead`.
        rng: decides on the gates of its candidates.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        rate: float,
        *,
        candidates: int,
        follows: bool,
        works: bool,
        rng: random.Random,
    ) -> None:
        self.run = run
        self.process = Process(name, rate, offset=run.world.rng.uniform(1000, 9000))
        self.link = Link(run.network, self.process)
        self.candidates = [
            SimCandidate(
                *(self, f"{name}.{n}", works),
                SimProgram(
                    self, rng, gated=rng.random() < 0.15, watched=works and rng.random() < 0.5
                ),
            )
            for n in range(candidates)
        ]
        self.seen: list[Leader | None] = []
        self.closing = False
        self.follows = follows
        self.store: Store

    def clock(self) -> float:
        """The reading of its clock, now."""
        return self.process.offset + self.process.rate * self.run.world.now

    def start(self) -> None:
        """Start the process."""
        self.run.world.spawn(self.process, "boot", self._boot)

    def _boot(self) -> None:
        world = self.run.world
        backend = self.run.backend.open(self.run.server, self.link)
        self.store = Store(backend, f"sim://{self.process.name}")
        let_go(self.store)
        self._check_enters()
        for one in self.candidates:
            world.spawn(self.process, f"{one.name}-events", partial(one.start, self.run.ttl))
        if self.follows:
            world.spawn(self.process, "follower", self._follow)

    def _check_enters(self) -> None:
        """Check that no session enters the election while it has a claim there, nor too many candidates at a time."""
        run = self.run
        # The engine forgets elections that are not in use.
        self._election = internals(self.store).engine.election(KEY)
        enter = self._election.enter

        def checked(session: Session, value: bytes) -> Claim:
            if run.server.has_claim_of(session.id):
                error = f"{value.decode()} enters with session {session.id}, which has a claim"
                # The engine takes exceptions of a plugin for lost answers.
                run.world.failure = run.world.failure or AssertionError(error)
            run.checks.check_places(self)
            return enter(session, value)

        self._election.enter = checked  # type: ignore[method-assign]  # a stand-in for this test

    def _follow(self) -> None:
        with suppress(StoreClosed):
            for leader in Follower(self.store, KEY).follow_election():
                self.seen.append(leader)
                self.run.world.note(f"{self.process.name} sees {leader!r}")

    def close(self, timeout: float) -> None:
        """Close the store; in a task of the process."""
        if self.closing:
            return
        self.closing = True
        begun = self.clock()
        self.run.world.note(f"{self.process.name} closes its store")
        closed = self.store.close(timeout)
        for one in self.candidates:
            one.stopped = True
        self.run.world.note(f"{self.process.name} has closed its store: {closed}")
        # `Engine.close` allows some time for each group of threads that hangs.
        self.run.checks.check_duration(self.candidates[0], "close", begun, timeout + 1.0)
        if closed:
            for one in self.candidates:
                one.confirm_left()

    def started(self) -> bool:
        """Whether its candidates are there."""
        return all(one.candidate is not None for one in self.candidates)

    def reconnect(self) -> None:
        """Let its link work again."""
        self.link.cut_requests = self.link.cut_answers = False
