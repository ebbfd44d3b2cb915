"""Linearizability of all stores while servers and clients are stopped, killed and cut off.

`python -m tests.system.linearizability` makes a history by hand.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.linearizability.run import Outcome, run
from tests.system.linearizability.stages import STORES

_SECONDS = {"sqlite": 6.0}
_USUALLY = 12.0
_LONG = 60.0
_RUNS = max(1, int(os.environ.get("SEEDS", "10000")) * 15 // 10000)  # an hour for all stores

on_each = pytest.mark.parametrize("kind", STORES)


@pytest.mark.slow
@pytest.mark.build
@pytest.mark.timeout(1200)
@on_each
def test_store_is_linearizable_under_faults(kind: str, tmp_path: Path, quick_folder: Path) -> None:
    """One short history on each store.

    On a busy machine a history may prove too little, since the servers elected no other leader, or be
    too large for the checker: then two more are made. None of them may be wrong.
    """
    said = []
    for seed in (1, 2, 3):
        outcome = run(
            kind, seed, _SECONDS.get(kind, _USUALLY), *_folders(seed, tmp_path, quick_folder)
        )
        assert not outcome.problems, _report(seed, outcome)
        is_faulted = kind == "sqlite" or outcome.actions["stopped the leader"]
        if is_faulted and outcome.reports > 10 and not outcome.undecided:
            return
        said.append(_report(seed, outcome))
    pytest.fail("\n".join(said))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@on_each
def test_store_is_linearizable_under_many_faults(
    kind: str, tmp_path: Path, quick_folder: Path
) -> None:
    """Long histories, in the long run only."""
    judged = reports = 0
    for seed in range(2, 2 + _RUNS):
        outcome = run(kind, seed, _LONG, *_folders(seed, tmp_path, quick_folder))
        assert not outcome.problems, _report(seed, outcome)
        assert not outcome.undecided, _report(seed, outcome)
        judged += outcome.judged
        reports += outcome.reports
    print(f"{kind}: {judged} operations judged in {_RUNS} runs, watches made {reports} reports")


def _folders(seed: int, *parents: Path) -> list[Path]:
    made = [parent / str(seed) for parent in parents]
    for folder in made:
        folder.mkdir()
    return made


def _report(seed: int, outcome: Outcome) -> str:
    return "\n".join([f"seed {seed}", str(outcome), *outcome.problems, *outcome.undecided])
