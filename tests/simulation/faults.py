"""Faults of a run: drawn in advance from the seed, so that a failing run can be shrunk."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .node import Node
    from .run import Run
    from .sim_candidate import SimCandidate

__all__ = ["KINDS", "Fault", "draw", "inject"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds after the beginning.
        kind: see `KINDS`.
        seconds: duration.
        seed: of its target and its details.
    """

    at: float
    kind: str
    seconds: float
    seed: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:.2f} for {self.seconds:.2f} s"


def draw(rng: random.Random, until: float, ttl: float) -> list[Fault]:
    """Draw the faults until that time."""
    kinds = list(KINDS)
    weights = [weight for weight, _ in KINDS.values()]
    # Some runs have three kinds of faults only.
    if rng.random() < 0.4:
        chosen = rng.sample(range(len(kinds)), 3)
        weights = [weight if n in chosen else 0 for n, weight in enumerate(weights)]
    faults, at, pace = [], rng.uniform(0.5, 4.0), rng.choice([1.0, 3.0, 6.0])
    while at < until:
        (kind,) = rng.choices(kinds, weights)
        seconds = rng.choice([0.1 * ttl, ttl / 2, 1.2 * ttl, 3 * ttl]) * rng.uniform(0.3, 1.0)
        faults.append(Fault(at, kind, seconds, rng.randrange(1 << 30)))
        at += rng.expovariate(1 / pace)
    return faults


def inject(run: Run, fault: Fault) -> None:
    """Inject the fault, now."""
    rng = random.Random(fault.seed)
    run.world.note(f"-- {fault}")
    run.injected[fault.kind] += 1
    KINDS[fault.kind][1](run, fault, rng)


def _leader_or_any(run: Run, rng: random.Random) -> SimCandidate | None:
    alive = [one for one in run.candidates() if one.node.started() and not one.stopped]
    leaders = [one for one in alive if one.leading_token() is not None]
    if leaders and rng.random() < 0.6:
        return rng.choice(leaders)
    return rng.choice(alive) if alive else None


def _node(run: Run, rng: random.Random) -> Node | None:
    one = _leader_or_any(run, rng)
    return None if one is None else one.node


def _pause(run: Run, fault: Fault, rng: random.Random) -> None:
    if node := _node(run, rng):
        node.process.pause(run.world.now, fault.seconds)


def _stall(run: Run, fault: Fault, rng: random.Random) -> None:
    """A pause between any two steps."""
    if node := _node(run, rng):
        node.process.stalls.append([rng.randrange(1, 120), fault.seconds])
        node.process.breaks_in = 0


def _cut(run: Run, fault: Fault, rng: random.Random) -> None:
    if node := _node(run, rng):
        link = node.link
        how = rng.choice(["both", "requests", "answers"])
        link.cut_requests |= how != "answers"
        link.cut_answers |= how != "requests"
        run.world.after(fault.seconds, node.reconnect)


def _slow(run: Run, fault: Fault, rng: random.Random) -> None:
    """Each way takes up to a third of the ttl; in most cases a cut follows."""
    if node := _node(run, rng):
        node.link.slow = rng.choice([0.1, 0.3]) * run.ttl
        run.world.after(fault.seconds, lambda: setattr(node.link, "slow", 0.0))
        if rng.random() < 0.7:
            run.world.after(fault.seconds * rng.random(), lambda: _cut_off(run, node, fault))


def _cut_off(run: Run, node: Node, fault: Fault) -> None:
    if run.calm:
        return
    node.link.cut_requests = True
    run.world.after(2 * run.ttl, node.reconnect)


def _cut_all(run: Run, fault: Fault, rng: random.Random) -> None:
    for node in run.nodes:
        node.link.cut_answers = True
        run.world.after(fault.seconds, node.reconnect)


def _outage(run: Run, fault: Fault, rng: random.Random) -> None:
    network = run.network
    network.down, network.refusing = True, rng.random() < 0.5
    restarted = rng.random() < 0.5
    if network.refusing:
        for node in run.nodes:
            node.link.reset()

    def back() -> None:
        if network.down:
            network.down = network.refusing = False
            if restarted:
                run.server.touch_all()

    run.world.after(min(fault.seconds, 2 * run.ttl), back)


def _in_task(one: SimCandidate, what: Callable[[], None]) -> None:
    if not one.node.process.dead:
        one.node.run.world.spawn(one.node.process, "user", what)


def _resign(run: Run, fault: Fault, rng: random.Random) -> None:
    if one := _leader_or_any(run, rng):
        cooldown = rng.choice([0.0, 0.3, 1.0])
        _in_task(one, lambda: one.resign(cooldown))


def _leave(run: Run, fault: Fault, rng: random.Random) -> None:
    if (one := _leader_or_any(run, rng)) and not one.works:
        _in_task(one, lambda: one.leave_and_return(min(fault.seconds, 2.0)))


def _stop(run: Run, fault: Fault, rng: random.Random) -> None:
    one = _leader_or_any(run, rng)
    if one is None or sum(not other.stopped for other in run.candidates()) < 2:
        return
    timeout = rng.choice([None, 0.0, 1.0])
    _in_task(one, lambda: one.stop(timeout))


def _close(run: Run, fault: Fault, rng: random.Random) -> None:
    node = _node(run, rng)
    if node is None or node.closing or len(node.candidates) == len(run.candidates()):
        return
    timeout = rng.choice([0.5, 5.0])
    _in_task(node.candidates[0], lambda: node.close(timeout))
    run.world.after(fault.seconds + 1, lambda: run.replace(node))


def _crash(run: Run, fault: Fault, rng: random.Random) -> None:
    node = _node(run, rng)
    if node is None or node.closing:
        return
    run.world.kill(node.process)
    run.world.after(fault.seconds, lambda: run.replace(node))


KINDS: dict[str, tuple[int, Callable[[Run, Fault, random.Random], None]]] = {
    "pause": (3, _pause),
    "stall": (4, _stall),
    "cut": (4, _cut),
    "slow": (3, _slow),
    "cut all": (1, _cut_all),
    "outage": (2, _outage),
    "member": (2, lambda run, fault, rng: run.server.disturb(rng, fault.seconds)),
    "end session": (1, lambda run, _, __: run.server.operator_ends_session()),
    "delete": (1, lambda run, _, __: run.server.operator_deletes()),
    "overwrite": (1, lambda run, _, __: run.server.operator_overwrites()),
    "early answer": (1, lambda run, _, __: run.server.answer_all()),
    "resign": (4, _resign),
    "leave": (1, _leave),
    "stop": (1, _stop),
    "close": (1, _close),
    "crash": (1, _crash),
}
