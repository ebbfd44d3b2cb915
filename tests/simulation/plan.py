"""Plan of a run: drawn from a seed, and reducible to some of its faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from math import inf

from .backends import BACKENDS
from .faults import Fault, draw
from .network import Profile

__all__ = ["TTL", "Plan"]

TTL = 6.0
_FAULT_SECONDS = 40.0  # seconds


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run.

    Attributes:
        seed: of the run.
        backend: whose election it is.
        faults: with their numbers.
        network: its constant faults.
        fault_seconds: seconds until all faults end.
        nodes: number of processes at the beginning.
        left_out: options of the command line for a reduced plan.
    """

    seed: int
    backend: str
    faults: tuple[tuple[int, Fault], ...] = ()
    network: Profile = field(default_factory=Profile)
    fault_seconds: float = _FAULT_SECONDS
    nodes: int = 2
    left_out: str = ""

    @classmethod
    def of(cls, seed: int, backend: str) -> Plan:
        """The plan of that seed."""
        rng = random.Random(f"plan {backend} {seed}")
        bad = rng.choice([0.0, 0.01, 0.05])
        profile = Profile(
            lost=bad,
            late=rng.choice([0.0, bad, bad * 3]),
            copied=rng.choice([0.0, 0.02, 0.1]) if BACKENDS[backend].copies else 0.0,
            lateness=rng.choice([0.5, TTL, 2.5 * TTL]),
        )
        faults = tuple(enumerate(draw(rng, _FAULT_SECONDS, TTL)))
        if BACKENDS[backend].parts and rng.random() < 0.4:
            times = [rng.uniform(1, 5) + 14.0 * n for n in range(3)]
            cuts = [Fault(at, "member", 1.5 * TTL, rng.randrange(1 << 30)) for at in times]
            faults, profile = tuple(enumerate(cuts)), Profile()
        nodes = rng.choice([1, 2, 2, 3, 4])
        return cls(seed, backend, faults, profile, _FAULT_SECONDS, nodes)

    def only(self, kept: list[int], messages: float = inf) -> Plan:
        """The same plan with these faults only, and no network faults from that message on."""
        faults = tuple((n, fault) for n, fault in self.faults if n in kept)
        numbers = ",".join(str(n) for n, _ in faults)
        left_out = f"--faults '{numbers}'"
        if messages != inf:
            left_out += f" --messages {messages:g}"
        network = replace(self.network, until=messages)
        return replace(self, faults=faults, network=network, left_out=left_out)

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        words = f"python -m tests.simulation --backend {self.backend} --seed {self.seed}"
        return f"{words} {self.left_out} --trace".replace("  ", " ")

    def __str__(self) -> str:
        said = [self.command, f"{self.nodes} processes, {self.network}"]
        return "\n".join([*said, *(f"  {n}: {fault}" for n, fault in self.faults)])
