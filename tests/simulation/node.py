"""A simulated process: an open store, its candidates and a follower."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from leadership_core import lifetimes
from leadership_core.errors import StoreClosed
from leadership_core.follower import Follower
from leadership_core.handle import StoreHandle
from leadership_core.store import Leader

from .contender import Contender
from .kernel import Process
from .network import Link
from .server import KEY

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Node"]


class Node:
    """One process.

    Args:
        run: it belongs to.
        name: unlike all others, also of those that were killed.
        rate: of its clock.
        contenders: how many candidates it has.
        follows: whether it has a follower.
        works: whether its candidates `lead` work of theirs.
    """

    def __init__(
        self, run: Run, name: str, rate: float, *, contenders: int, follows: bool, works: bool
    ) -> None:
        self.run = run
        self.process = Process(name, rate, offset=run.world.rng.uniform(1000, 9000))
        self.link = Link(run.network, self.process)
        self.contenders = [Contender(self, f"{name}.{n}", works) for n in range(contenders)]
        self.seen: list[Leader | None] = []
        self.closing = False
        self.closed: bool | None = None
        self.follows = follows
        self.store: StoreHandle
        self.follower: Follower

    def clock(self) -> float:
        """What its clock shows."""
        return self.process.offset + self.process.rate * self.run.world.now

    def start(self) -> None:
        """Let the process begin."""
        self.run.world.spawn(self.process, "boot", self._boot)

    def _boot(self) -> None:
        world = self.run.world
        backend = self.run.backend.open(self.run.server, self.link)
        self.store = StoreHandle(backend, f"sim://{self.process.name}")
        lifetimes.unregister(self.store)
        for one in self.contenders:
            world.spawn(self.process, f"{one.name}-events", partial(one.start, self.run.ttl))
        if self.follows:
            world.spawn(self.process, "follower", self._follow)

    def _follow(self) -> None:
        self.follower = Follower(self.store, KEY)
        with suppress(StoreClosed):
            for leader in self.follower.follow_election():
                self.seen.append(leader)
                self.run.world.note(f"{self.process.name} sees {leader!r}")

    def close(self, timeout: float) -> None:
        """Close the store; in a task of the process."""
        if self.closing:
            return
        self.closing = True
        begun = self.clock()
        self.run.world.note(f"{self.process.name} closes its store")
        self.closed = self.store.close(timeout)
        for one in self.contenders:
            one.stopped = True
        self.run.world.note(f"{self.process.name} has closed its store: {self.closed}")
        # A moment for each group of threads that hangs, as `Engine.close` has it.
        self.run.checks.bounded(self.contenders[0], "close", begun, timeout + 1.0)
        if self.closed:
            for one in self.contenders:
                one._gone()

    def started(self) -> bool:
        """Whether its candidates are there."""
        return all(hasattr(one, "candidate") for one in self.contenders)
