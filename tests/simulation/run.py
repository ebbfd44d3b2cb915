"""One run of a simulated election."""

from __future__ import annotations

import gc
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from tests.support.internals import candidate_control

from .backends import BACKENDS, Backend
from .carrier_threads import CarrierThreads
from .checks import Checks
from .faults import inject
from .kernel import World
from .network import Network
from .node import Node
from .patching import patched_modules
from .plan import TTL, Plan
from .server import Server
from .sim_candidate import SimCandidate

__all__ = ["Outcome", "Run", "simulate"]

_CONFIRMED = 21.0  # seconds within which a follower reads again


@dataclass
class Outcome:
    """The result of a run.

    Attributes:
        error: the property that was violated, or None.
        terms: number of terms.
        waited: seconds from the end of the last fault to a leader.
        events: number of events of candidates, by name.
        faults: number of faults, by kind.
        steps: number of simulated steps.
        messages: number of messages that the network could have disturbed.
        places: how many candidates of one process had the turn at a time.
        digest: of the whole run; the same seed gives the same digest.
    """

    plan: Plan
    error: BaseException | None = None
    terms: int = 0
    waited: float = inf
    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    messages: int = 0
    places: int = 0
    digest: str = ""


class Run:
    """The parts of a run: processes, network, server and checks."""

    def __init__(
        self, plan: Plan, carriers: CarrierThreads, trace: Callable[[str], None] | None
    ) -> None:
        name = f"{plan.backend} {plan.seed}"
        self.plan, self.ttl = plan, TTL
        self.backend: Backend = BACKENDS[plan.backend]
        self.world = World(f"world {name}", carriers, trace)
        self.network = Network(self.world, plan.network, f"network {name}")
        self.server: Server = self.backend.server(self.world, random.Random(f"server {name}"))
        self.checks = Checks(self)
        self.injected: Counter[str] = Counter()
        self.nodes: list[Node] = []
        self.calm = False
        self._serial = 0

    def candidates(self) -> list[SimCandidate]:
        """The candidates of all living processes."""
        return [one for node in self.nodes if not node.process.dead for one in node.candidates]

    def add(self) -> Node:
        """Start a process."""
        rng = self.world.rng
        self._serial += 1
        # Of its own, as that of the gates. They share a session, and are in the election in turn.
        crowd = random.Random(f"crowd {self.plan.backend} {self.plan.seed} {self._serial}")
        node = Node(
            self,
            f"p{self._serial}",
            # The margin is a tenth of the ttl, so clocks may differ by that much.
            rng.choice([1.0, rng.uniform(self.backend.slowest, 1.1)]),
            candidates=crowd.choice([2, 2, 3, 5]) if rng.random() < 0.15 else 1,
            follows=rng.random() < 0.3,
            works=rng.random() < 0.2,
            # Of its own, so that runs without gates are as they were without this.
            rng=random.Random(f"gates {self.plan.backend} {self.plan.seed} {self._serial}"),
        )
        self.nodes.append(node)
        node.start()
        return node

    def replace(self, node: Node) -> None:
        """Start another process in place of one that has ended."""
        if not self.calm:
            self.add()

    # -- the phases --------------------------------------------------------------------------

    def inject_faults(self) -> None:
        """Run the processes while the faults of the plan happen."""
        for _, fault in self.plan.faults:
            self.world.at(fault.at, lambda fault=fault: inject(self, fault))  # type: ignore[misc]  # mypy infers no lambda with defaults
        for _ in range(self.plan.nodes):
            self.add()
        self.world.after_each = self.checks.after_each
        self.world.run(self.plan.fault_seconds)

    def recover(self) -> float:
        """End all faults; returns how many seconds later there is a leader."""
        world, network = self.world, self.network
        world.note("-- all is well from here on")
        self.calm = network.calm = True
        self.server.repair()
        if network.down:
            network.down = network.refusing = False
        for node in self.nodes:
            node.reconnect()
            node.process.stalls.clear()
        world.run(max([0.0, *(node.process.paused_until - world.now for node in self.nodes)]) + 0.1)
        if all(one.stopped or one.node.closing for one in self.candidates()):
            self.add()
        begun = world.now
        limit = self.backend.expires(TTL, self.server) + self.plan.network.lateness + 5.0
        while world.now < begun + limit:
            world.run(0.25)
            if (leader := self.checks.leader()) is not None and not leader.stopped:
                return world.now - begun
        raise AssertionError(
            f"no candidate leads {limit:.1f} s after the last fault; the server has "
            f"{self.server.holders()}, token {self.server.token()}"
        )

    def stay_stable(self) -> None:
        """Without faults the leader stays, and all followers see it."""
        self.world.run(TTL)  # the rest of its lease may have been too short for a renewal
        self.checks.check_queues()
        leader = self.checks.leader()
        if leader is None or leader.works:
            return  # its work may end at any time
        before = leader.leading_token()
        self.world.run(2 * TTL)
        after = leader.leading_token()
        assert before == after, f"{leader.name} has lost its term although all is well"
        self.checks.check_resigned()
        self.checks.check_one_leader()
        if any(node.follows for node in self.nodes):
            self.world.run(_CONFIRMED - 2 * TTL)
            self.checks.check_followers()

    def shut_down(self) -> None:
        """Stop all candidates and close all stores; nothing may be left."""
        for one in self.candidates():
            if not one.stopped and not one.node.closing:
                self.world.spawn(one.node.process, "user", one.stop)
        self.world.run(TTL + 1.0)
        for one in self.candidates():
            assert one.stopped, f"{one.name} does not stop"
            gone = one.left or one.node.closing
            assert gone or candidate_control(one.started).await_stop(0), f"{one.name} cannot leave"
        values = {one.name.encode() for one in self.candidates()}
        orphaned = [holder for holder in self.server.holders() if holder in values]
        assert not orphaned, f"orphaned claims: {orphaned}"
        for node in self.nodes:
            if not node.process.dead and not node.closing:
                self.world.spawn(node.process, "user", lambda node=node: node.close(5.0))  # type: ignore[misc]  # mypy infers no lambda with defaults
        self.world.run(7.0)
        for node in self.nodes:
            left_over = sorted(task.name for task in node.process.tasks)
            assert not left_over, f"threads of {node.process.name} are left: {left_over}"
        self.checks.check_events()
        self.checks.check_request_rates()


@contextmanager
def _no_collection() -> Iterator[None]:
    """A collection would happen at another step in each run, and call finalizers there."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def simulate(
    plan: Plan, carriers: CarrierThreads, trace: Callable[[str], None] | None = None
) -> Outcome:
    """Make one run; a violated property is in the outcome.

    Raises:
        AssertionError: a store that is not of the simulation is open in this process.
    """
    outcome = Outcome(plan)
    run = Run(plan, carriers, trace)
    with (
        _no_collection(),
        run.backend.patched(),
        patched_modules(run.world, run.backend.packages) as logged,
    ):
        try:
            run.inject_faults()
            outcome.waited = run.recover()
            run.stay_stable()
            run.shut_down()
            assert not logged, f"errors were logged: {logged[0]}"
        except Exception as error:  # noqa: BLE001 - any error is a failure of the run
            outcome.error = error
        run.world.note(f"-- the end: {outcome.error or 'all is as it should be'}")
        digest = f"{run.world.steps} {run.world.now} {run.world.rng.random()} {run.checks.terms}"
        steps = run.world.steps
        run.world.end([node.process for node in run.nodes])
    outcome.digest = hashlib.sha256(digest.encode()).hexdigest()[:16]
    outcome.steps = steps
    outcome.messages = run.network.messages
    outcome.places = run.checks.most_places
    outcome.terms = len(run.checks.terms)
    outcome.faults = run.injected + run.network.faults
    for node in run.nodes:
        for one in node.candidates:
            outcome.events.update(event.name for event in one.events)
    return outcome
