"""What is to happen in a run, all of it drawn from a seed, and how to leave some of it out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from math import inf

from .backends import BACKENDS
from .faults import Fault, draw
from .network import Profile

__all__ = ["TTL", "Plan"]

TTL = 6.0
_TROUBLE = 40.0  # seconds in which things go wrong


@dataclass(frozen=True)
class Plan:
    """All that a run is made of but chance, which comes from the seed.

    Attributes:
        seed: of the run.
        backend: whose election it is.
        faults: what goes wrong, each with its number.
        network: how bad the network is.
        trouble: seconds until all is well.
        nodes: how many processes there are.
        left_out: what was left out, as the command line says it.
    """

    seed: int
    backend: str
    faults: tuple[tuple[int, Fault], ...] = ()
    network: Profile = field(default_factory=Profile)
    trouble: float = _TROUBLE
    nodes: int = 2
    left_out: str = ""

    @classmethod
    def of(cls, seed: int, backend: str) -> Plan:
        """What that seed stands for."""
        rng = random.Random(f"plan {backend} {seed}")
        bad = rng.choice([0.0, 0.01, 0.05])
        profile = Profile(
            lost=bad,
            late=rng.choice([0.0, bad, bad * 3]),
            copied=rng.choice([0.0, 0.02, 0.1]) if BACKENDS[backend].copies else 0.0,
            lateness=rng.choice([0.5, TTL, 2.5 * TTL]),
        )
        faults = tuple(enumerate(draw(rng, _TROUBLE, TTL)))
        if BACKENDS[backend].parts and rng.random() < 0.4:
            times = [rng.uniform(1, 5) + 14.0 * n for n in range(3)]
            cuts = [Fault(at, "member", 1.5 * TTL, rng.randrange(1 << 30)) for at in times]
            faults, profile = tuple(enumerate(cuts)), Profile()
        nodes = rng.choice([1, 2, 2, 3, 4])
        return cls(seed, backend, faults, profile, _TROUBLE, nodes)

    def only(self, kept: list[int], messages: float = inf) -> Plan:
        """The same with these faults only, and with no trouble for messages from a number on."""
        faults = tuple((n, fault) for n, fault in self.faults if n in kept)
        numbers = ",".join(str(n) for n, _ in faults)
        left_out = f"--faults '{numbers}'"
        if messages != inf:
            left_out += f" --messages {messages:g}"
        network = replace(self.network, until=messages)
        return replace(self, faults=faults, network=network, left_out=left_out)

    @property
    def command(self) -> str:
        """What makes this run again."""
        words = f"python -m tests.simulation --backend {self.backend} --seed {self.seed}"
        return f"{words} {self.left_out} --trace".replace("  ", " ")

    def __str__(self) -> str:
        said = [self.command, f"{self.nodes} processes, {self.network}"]
        return "\n".join([*said, *(f"  {n}: {fault}" for n, fault in self.faults)])
