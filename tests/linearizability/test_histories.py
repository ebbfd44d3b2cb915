"""All stores are linearizable while servers and clients are stopped, killed and cut off.

`python -m tests.linearizability` makes a history by hand.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.linearizability.run import Outcome, run
from tests.linearizability.stages import STORES

_SECONDS = {"sqlite": 6.0}
_USUALLY = 12.0
_LONG = 60.0
_RUNS = max(1, int(os.environ.get("SEEDS", "10000")) * 15 // 10000)  # an hour for all stores

on_each = pytest.mark.parametrize("kind", STORES)


@pytest.mark.slow
@pytest.mark.build
@pytest.mark.timeout(600)
@on_each
def test_a_history_under_faults(kind: str, tmp_path: Path, quick_folder: Path) -> None:
    outcome = _run(kind, 1, _SECONDS.get(kind, _USUALLY), tmp_path, quick_folder)

    assert outcome.told > 10
    if kind != "sqlite":
        assert outcome.deeds["stopped the leader"]


@pytest.mark.soak
@pytest.mark.timeout(7200)
@on_each
def test_many_histories(kind: str, tmp_path: Path, quick_folder: Path) -> None:
    judged = told = 0
    for seed in range(2, 2 + _RUNS):
        for folder in (tmp_path / str(seed), quick_folder / str(seed)):
            folder.mkdir()
        outcome = _run(kind, seed, _LONG, tmp_path / str(seed), quick_folder / str(seed))
        judged += outcome.judged
        told += outcome.told
    print(f"{kind}: {judged} operations judged in {_RUNS} runs, watches told {told} times")


def _run(kind: str, seed: int, seconds: float, folder: Path, data: Path) -> Outcome:
    outcome = run(kind, seed, seconds, folder, data)
    assert not outcome.problems, "\n".join([f"seed {seed}", str(outcome), *outcome.problems])
    assert not outcome.undecided, "\n".join([f"seed {seed}", *outcome.undecided])
    return outcome
