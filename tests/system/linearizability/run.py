"""One workload under faults, and the verdict on its histories."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.system.linearizability.histories import histories_of
from tests.system.linearizability.judge import judge
from tests.system.linearizability.nemesis import Nemesis
from tests.system.linearizability.processes import Processes
from tests.system.linearizability.records import read_records
from tests.system.linearizability.stages import staged
from tests.system.linearizability.watches import count_reports, watch_problems

__all__ = ["KINDS", "PROCESSES", "Outcome", "run"]

PROCESSES = 3

KINDS = (
    "put done", "put conflict", "put fenced", "get found", "get absent", "list found", "wipe done",
    "leader found", "delete done", "delete absent", "close done",
)  # fmt: skip
"""The answers that a run waits for: without them it would prove nothing."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        problems: what is wrong.
        undecided: histories that took the judge too long.
        answered: operations, by their kind and their outcome.
        judged: operations in all histories; one that lists counts for each key.
        reports: of all watches.
        actions: what was done to servers and clients.
    """

    problems: list[str]
    undecided: list[str]
    answered: Counter[str]
    judged: int
    reports: int
    actions: Counter[str]

    def __str__(self) -> str:
        answered = ", ".join(f"{count} {what}" for what, count in sorted(self.answered.items()))
        actions = ", ".join(f"{count} {what}" for what, count in sorted(self.actions.items()))
        return f"{self.judged} operations judged, {self.reports} reports of watches; {answered}; {actions}"


def run(kind: str, seed: int, seconds: float, folder: Path, data: Path) -> Outcome:
    """Use a store from several processes under faults, and judge the histories.

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
    histories = histories_of(
        records,
        atomic_lists=stage.atomic_lists,
        slack=stage.slack,
        resumed=nemesis.resumed if stage.ends_leases_on_resume else (),
    )
    verdicts = judge(histories)
    problems += [str(one) for one in verdicts if one.result == "illegal"]
    problems += watch_problems(records)
    answered = Counter(f"{one['op']} {one['outcome']}" for one in records if one["return"])
    return Outcome(
        problems,
        [str(one) for one in verdicts if one.result == "unknown"],
        answered,
        sum(one.operations for one in verdicts),
        count_reports(records),
        nemesis.actions,
    )
