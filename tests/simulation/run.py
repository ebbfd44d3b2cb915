"""One run of a simulated election, from its seed to what is wrong with it."""

from __future__ import annotations

import gc
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from .backends import BACKENDS, Backend
from .checks import Checks
from .contender import Contender
from .faults import befall
from .hosts import Hosts
from .kernel import World
from .network import Network
from .node import Node
from .plan import TTL, Plan
from .server import Server
from .stage import on_stage

__all__ = ["Outcome", "Run", "simulate"]

_CONFIRMED = 21.0  # seconds in which a follower reads once more what it may have missed


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        error: what is wrong with it, or None.
        terms: how many there were.
        waited: seconds from the end of the last fault to a leader.
        events: how often each was told.
        steps: how many things happened.
        messages: how many of them could have been in trouble.
        digest: of all that happened; the same seed gives the same.
    """

    plan: Plan
    error: BaseException | None = None
    terms: int = 0
    waited: float = inf
    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    messages: int = 0
    digest: str = ""


class Run:
    """The parts of a run, for those who look at it and those who disturb it."""

    def __init__(self, plan: Plan, hosts: Hosts, trace: Callable[[str], None] | None) -> None:
        name = f"{plan.backend} {plan.seed}"
        self.plan, self.ttl = plan, TTL
        self.backend: Backend = BACKENDS[plan.backend]
        self.world = World(f"world {name}", hosts, trace)
        self.network = Network(self.world, plan.network, f"network {name}")
        self.server: Server = self.backend.server(self.world, random.Random(f"server {name}"))
        self.checks = Checks(self)
        self.befallen: Counter[str] = Counter()
        self.nodes: list[Node] = []
        self.calm = False
        self._serial = 0

    def contenders(self) -> list[Contender]:
        """Of all processes that live."""
        return [one for node in self.nodes if not node.process.dead for one in node.contenders]

    def add(self) -> Node:
        """Start a process."""
        rng = self.world.rng
        self._serial += 1
        node = Node(
            self,
            f"p{self._serial}",
            # The margin is a tenth of the ttl, so clocks may differ by that much.
            rng.choice([1.0, rng.uniform(self.backend.slowest, 1.1)]),
            contenders=2 if rng.random() < 0.15 else 1,
            follows=rng.random() < 0.3,
            works=rng.random() < 0.2,
        )
        self.nodes.append(node)
        node.start()
        return node

    def replace(self, node: Node) -> None:
        """Another process takes the place of one that has ended."""
        if not self.calm:
            self.add()

    def mend(self, node: Node) -> None:
        """Its link works again."""
        node.link.cut_requests = node.link.cut_answers = False

    def held_up(self, node: Node, since: float) -> float:
        """Seconds since then that the process was paused, at the most."""
        return node.process.paused(since)

    # -- the phases --------------------------------------------------------------------------

    def trouble(self) -> None:
        """All goes wrong that is to go wrong."""
        for _, fault in self.plan.faults:
            self.world.at(fault.at, lambda fault=fault: befall(self, fault))  # type: ignore[misc]
        for _ in range(self.plan.nodes):
            self.add()
        self.world.after_each = self.checks.after_each
        self.world.run(self.plan.trouble)

    def quieten(self) -> float:
        """Nothing goes wrong any more; returns how long it took until somebody leads."""
        world, network = self.world, self.network
        world.note("-- all is well from here on")
        self.calm = network.calm = True
        self.server.mend()
        if network.down:
            network.down = network.refusing = False
        for node in self.nodes:
            self.mend(node)
            node.process.stalls.clear()
        world.run(max([0.0, *(node.process.paused_until - world.now for node in self.nodes)]) + 0.1)
        if all(one.stopped or one.node.closing for one in self.contenders()):
            self.add()
        begun = world.now
        limit = self.backend.expires(TTL, self.server) + self.plan.network.lateness + 5.0
        while world.now < begun + limit:
            world.run(0.25)
            if (leader := self.checks.leader()) is not None and not leader.stopped:
                return world.now - begun
        raise AssertionError(
            f"nobody leads {limit:.1f} s after the last fault; the server has "
            f"{self.server.holders()}, token {self.server.token()}"
        )

    def settle(self) -> None:
        """A leader stays while nothing happens, and everybody sees it."""
        self.world.run(TTL)  # what was left of its lease may have been too little to renew it
        leader = self.checks.leader()
        if leader is None or leader.works:
            return  # its work ends when it likes
        before = leader.believes()
        self.world.run(2 * TTL)
        after = leader.believes()
        assert before == after, f"{leader.name} has lost its term although all is well"
        self.checks.resigns()
        believers = self.checks.believers()  # whoever was deposed by hand has been told by now
        assert len(believers) <= 1, f"{believers} believe although all is well"
        if any(node.follows for node in self.nodes):
            self.world.run(_CONFIRMED - 2 * TTL)
            self.checks.followers()

    def leave(self) -> None:
        """All stop; nothing is left."""
        for one in self.contenders():
            if not one.stopped and not one.node.closing:
                self.world.spawn(one.node.process, "user", one.stop)
        self.world.run(TTL + 1.0)
        for one in self.contenders():
            assert one.stopped, f"{one.name} does not stop"
            gone = one.left or one.node.closing
            assert gone or one.candidate._candidacy.await_stop(0), f"{one.name} cannot leave"
        holders = [
            holder
            for holder in self.server.holders()
            if any(one.name.encode() == holder for one in self.contenders())
        ]
        assert not holders, f"claims are left that nobody wants: {holders}"
        for node in self.nodes:
            if not node.process.dead and not node.closing:
                self.world.spawn(node.process, "user", lambda node=node: node.close(5.0))  # type: ignore[misc]
        self.world.run(7.0)
        for node in self.nodes:
            left_over = sorted(task.name for task in node.process.tasks)
            assert not left_over, f"threads of {node.process.name} are left: {left_over}"
        self.checks.stories()
        self.checks.rates()


def simulate(plan: Plan, hosts: Hosts, trace: Callable[[str], None] | None = None) -> Outcome:
    """Make one run; what is wrong is in the outcome."""
    outcome = Outcome(plan)
    gc.disable()
    run = Run(plan, hosts, trace)
    with run.backend.stage(), on_stage(run.world, run.backend.packages) as logged:
        try:
            run.trouble()
            outcome.waited = run.quieten()
            run.settle()
            run.leave()
            assert not logged, f"errors were logged: {logged[0]}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
            outcome.error = error
        run.world.note(f"-- the end: {outcome.error or 'all is as it should be'}")
        digest = f"{run.world.steps} {run.world.now} {run.world.rng.random()} {run.checks.reigns}"
        steps = run.world.steps
        run.world.end([node.process for node in run.nodes])
    outcome.digest = hashlib.sha256(digest.encode()).hexdigest()[:16]
    outcome.steps = steps
    outcome.messages = run.network.messages
    outcome.terms = len(run.checks.reigns)
    outcome.faults = run.befallen + run.network.faults
    for node in run.nodes:
        for one in node.contenders:
            outcome.events.update(event.name for event in one.told)
    return outcome
