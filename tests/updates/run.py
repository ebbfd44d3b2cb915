"""One run of increments under faults, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.places import Place
from tests.updates.checker import Verdict, judge, problems
from tests.updates.crew import Crew, Link
from tests.updates.nemesis import Nemesis

__all__ = ["MEMBERS", "Outcome", "run"]

MEMBERS = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    verdict: Verdict
    problems: list[str]
    deeds: Counter[str]

    def __str__(self) -> str:
        deeds = ", ".join(f"{count} {deed}" for deed, count in sorted(self.deeds.items()))
        return f"{self.verdict}; {deeds}"


def run(
    place: Place,
    guard: str,
    seed: int,
    seconds: float,
    folder: Path,
    links: Sequence[Link | None] = (None,) * MEMBERS,
) -> Outcome:
    """Let processes increment one counter, and do to them what a seed says.

    Args:
        place: the store.
        guard: `belief` or `fence`.
        seed: see `Nemesis`.
        seconds: how long things are done to them.
        folder: for the diaries, which stay there.
        links: the ways of the processes to the store, which are then cut and reset, too.
    """
    crew = Crew(folder, place.url, f"updates/{folder.name}-{guard}-{seed}", guard, place.ttl)
    try:
        for link in links:
            crew.start(link)
        crew.await_ready()
        nemesis = Nemesis(crew, place.times, seed)
        nemesis.run(seconds)
        crew.stop()
    finally:
        crew.kill()
    attempts, final = crew.attempts(), crew.final()
    return Outcome(judge(attempts, final), problems(attempts, final), nemesis.deeds)
