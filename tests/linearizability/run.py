"""One workload under faults, and what the judge says of its histories."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.linearizability.histories import histories_of
from tests.linearizability.judge import judge
from tests.linearizability.nemesis import Nemesis
from tests.linearizability.processes import Processes
from tests.linearizability.records import read_records
from tests.linearizability.stages import staged
from tests.linearizability.watches import told, watch_problems

__all__ = ["KINDS", "PROCESSES", "Outcome", "run"]

PROCESSES = 3

KINDS = (
    "put done", "put conflict", "put fenced", "get found", "get absent", "list found", "wipe done",
    "leader found", "delete done", "delete absent", "close done",
)  # fmt: skip
"""The answers that a run waits for: without them it would prove nothing."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        problems: what is wrong.
        undecided: histories that took the judge too long.
        answered: operations, by their kind and their outcome.
        judged: operations in all histories; one that lists counts for each key.
        told: how often watches have told something.
        deeds: what was done to servers and clients.
    """

    problems: list[str]
    undecided: list[str]
    answered: Counter[str]
    judged: int
    told: int
    deeds: Counter[str]

    def __str__(self) -> str:
        answered = ", ".join(f"{count} {what}" for what, count in sorted(self.answered.items()))
        deeds = ", ".join(f"{count} {what}" for what, count in sorted(self.deeds.items()))
        return f"{self.judged} operations judged, {self.told} told; {answered}; {deeds}"


def run(kind: str, seed: int, seconds: float, folder: Path, data: Path) -> Outcome:
    """Use a store from several processes, do things to it and them, and judge the histories.

    Args:
        kind: of the store.
        seed: see `Nemesis`.
        seconds: how long things are done.
        folder: for what the processes write down, which stays there.
        data: for what the store keeps.
    """
    with staged(kind, data, PROCESSES) as stage:
        processes = Processes(stage, folder)
        try:
            processes.start()
            processes.await_answers()
            nemesis = Nemesis(stage, processes, seed)
            nemesis.run(seconds)
            processes.await_answers(*KINDS)  # also those that were started last
            problems = processes.stop()
        finally:
            processes.kill()
    records = read_records(folder)
    problems += [one["says"] for one in records if one["op"] == "error"]
    histories = histories_of(records, atomic_lists=stage.atomic_lists, slack=stage.slack)
    verdicts = judge(histories)
    problems += [str(one) for one in verdicts if one.result == "illegal"]
    problems += watch_problems(records)
    answered = Counter(f"{one['op']} {one['outcome']}" for one in records if one["return"])
    return Outcome(
        problems,
        [str(one) for one in verdicts if one.result == "unknown"],
        answered,
        sum(one.operations for one in verdicts),
        told(records),
        nemesis.deeds,
    )
