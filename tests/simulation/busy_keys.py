"""Hand-overs without a pause among many processes, in the time of a simulation.

Each process has one candidate of the same key. The leader resigns as soon as it was elected, or a
while after. How long the key is without a leader then does not depend on the machine.
"""

from __future__ import annotations

import random
from functools import partial

from .carrier_threads import CarrierThreads
from .node import Node
from .patching import patched_modules
from .plan import TTL, Plan
from .run import Run

__all__ = ["handover_times"]

_STARTED = 5.0  # seconds


def handover_times(
    backend: str,
    processes: int,
    handovers: int,
    carriers: CarrierThreads,
    *,
    pause: float = 0.0,
    cooldown: float = 0.05,
) -> list[float]:
    """Seconds from each resignation to the next term.

    Args:
        backend: name of the backend.
        processes: each with one candidate.
        handovers: how many.
        carriers: threads for the run.
        pause: seconds for which each of them leads.
        cooldown: seconds for which a candidate that has resigned stays away.
    """
    run = Run(Plan(0, backend, nodes=processes), carriers, None)
    world, found = run.world, []
    world.breaks = False
    with run.backend.patched(), patched_modules(world, run.backend.packages) as logged:
        for number in range(processes):
            node = Node(
                *(run, f"p{number}", 1.0),
                candidates=1,
                follows=False,
                works=False,
                rng=random.Random(number),
            )
            run.nodes.append(node)
            node.candidates[0].program.gated = False
            node.start()
        world.run(_STARTED)
        for _ in range(handovers):
            world.run(pause)
            leader = run.checks.leader()
            assert leader is not None
            begun, terms = world.now, len(run.checks.terms)
            world.spawn(leader.node.process, "user", partial(leader.resign, cooldown))
            while len(run.checks.terms) == terms:
                world.run(0.0005)
                assert world.now < begun + TTL, "no candidate is elected"
            found.append(world.now - begun)
        world.end([node.process for node in run.nodes])
    assert not logged
    return found
