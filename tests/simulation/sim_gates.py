"""Gates of simulated candidates: a program whose readiness changes, and work that hangs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from leadership_core.events import Lost, LostReason

if TYPE_CHECKING:
    from leadership_core.term import Term

    from .node import Node

__all__ = ["SimProgram"]

_ANSWER = 2.0  # seconds: a third of the ttl, for a question, for its answer, and between two
_WATCHDOG = 3.0
_SLACK = 0.5  # seconds that a thread may be held up


@dataclass(eq=False)
class SimProgram:
    """The program around one candidate, as far as its gates see it.

    Attributes:
        node: its process.
        rng: of its behaviour.
        gated: whether it says when it is ready.
        watched: whether its candidate has a watchdog.
        refused_since: time of its clock since which every answer was a no; inf while it is ready.
        alive_at: time of its clock of the last sign of life of its work; inf while none goes on.
        last_sign: the same, also when the work has returned and the term has not ended yet.
    """

    node: Node
    rng: random.Random
    gated: bool
    watched: bool
    refused_since: float = inf
    alive_at: float = inf
    last_sign: float = -inf

    @property
    def watchdog(self) -> float | None:
        """The candidate's argument."""
        return _WATCHDOG if self.watched else None

    def ready(self) -> bool:
        """Change now and then, and now and then raise, or answer late; always ready at the end."""
        world = self.node.run.world
        if self.node.run.calm:
            self.refused_since = inf
            return True
        ready = self.refused_since == inf
        if self.rng.random() < 0.15:
            ready = not ready
        how = self.rng.random()
        if not ready and self.refused_since == inf:
            self.refused_since = self.node.clock()
        if not ready and how < 0.2:
            raise RuntimeError("not ready")
        if not ready and how < 0.3:
            world.sleep(self.rng.uniform(0, 3 * _ANSWER))
        if ready:
            self.refused_since = inf
        return ready

    def hang(self) -> None:
        """Give no sign of life for a while."""
        self.node.run.world.sleep(self.rng.uniform(0, 3 * _WATCHDOG))

    def begin_work(self, at: float) -> None:
        """Note that work begins, and since when the watchdog counts."""
        self.alive_at = self.last_sign = at

    def give_sign(self, term: Term) -> None:
        """Give a sign of life for that term."""
        self.begin_work(self.node.clock())
        term.heartbeat()

    def check_leader(self, name: str) -> None:
        """Its candidate leads at this moment: has a gate been ignored?"""
        for since, limit, what in (
            # A question may have been asked just before, and the answer may hang.
            (self.refused_since, 2 * _ANSWER, "although its program is not ready"),
            # The work that was paused has its time once more.
            (self.alive_at, 2 * _WATCHDOG, "although its work hangs"),
        ):
            if since == inf:
                continue
            silent = self.node.clock() - since - self.node.process.paused(since)
            assert silent <= limit + _SLACK, f"{name} leads {what} for {silent:.2f} s"

    def check_end(self, name: str, event: object) -> None:
        """Its term ends: by a watchdog without a reason?"""
        if event == Lost(LostReason.WATCHDOG):
            silent = self.node.clock() - self.last_sign
            assert silent >= _WATCHDOG - 0.01, (
                f"the watchdog has ended the term of {name} {silent:.2f} s after a sign of life"
            )
