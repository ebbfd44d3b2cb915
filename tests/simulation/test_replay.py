"""Repetition and reduction of a run."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leadership_core import Candidate, Store, open_store
from tests.mutation.catalogue import SIMULATED

from .backends import BACKENDS
from .carrier_threads import CarrierThreads
from .plan import Plan
from .run import simulate
from .shrink import shrunk

ROOT = Path(__file__).parents[2]


def digest_in_new_process(seed: int, backend: str, hash_seed: str) -> str:
    words = ["-m", "tests.simulation", "--backend", backend, "--seed", str(seed)]
    found = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return next(
        line.split()[1].rstrip(",") for line in found.stdout.splitlines() if "digest" in line
    )


def product_names() -> dict[str, object]:
    """The values of all names in the modules of the product."""
    return {
        f"{name}.{attribute}": value
        for name, module in list(sys.modules.items())
        if name.startswith("leadership_")
        for attribute, value in vars(module).items()
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_simulation_restores_the_product(backend: str, carriers: CarrierThreads) -> None:
    """After a run all names in the product have their old values."""
    simulate(Plan.of(1, backend), carriers)
    before = product_names()

    for seed in range(20):
        simulate(Plan.of(seed, backend), carriers)

    after = product_names()
    assert {name for name in before if after[name] is not before[name]} == set()


def test_simulation_keeps_no_store(carriers: CarrierThreads) -> None:
    """Stores of killed processes, which are never closed, are collected, too; collection goes on."""
    killed = 0
    for seed in range(4):
        killed += simulate(Plan.of(seed, "default"), carriers).faults["crash"]
    # The last run is kept, as the present world.
    simulate(Plan.of(4, "default").only([], 0), carriers)

    assert killed > 0
    assert gc.isenabled()
    gc.collect()
    left = [one for one in gc.get_objects() if isinstance(one, Store) and "sim://" in repr(one)]
    assert len(left) <= 5


def test_simulation_refuses_threads_of_an_open_store(carriers: CarrierThreads) -> None:
    """The error names them."""
    with open_store("memory://") as store:
        assert Candidate(store, "key", "a").wait_elected(5)
        with pytest.raises(AssertionError, match="leadership-scheduler"):
            simulate(Plan.of(1, "default"), carriers)
    assert simulate(Plan.of(1, "default"), carriers).error is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_seed_gives_same_run_in_any_process(backend: str, carriers: CarrierThreads) -> None:
    """A run does not depend on earlier runs or on Python's hash seed."""
    here = [simulate(Plan.of(seed, backend), carriers).digest for seed in (3, 4, 3)]

    assert here[0] == here[2] != here[1]
    assert {digest_in_new_process(3, backend, hashing) for hashing in ("1", "2")} == {here[0]}


def test_failure_is_shrunk_and_repeats(carriers: CarrierThreads) -> None:
    """The reduced run has fewer faults and fails in the same way, each time."""
    (mutant,) = (one for one in SIMULATED if one.name == "withdrawal without a comparison")
    with mutant.planted():
        seeds = (simulate(Plan.of(seed, mutant.backend), carriers) for seed in range(100))
        failed = next(
            outcome for outcome in seeds if len(outcome.plan.faults) > 3 and outcome.error
        )
        small = shrunk(failed, carriers)
        again = simulate(small.plan, carriers)

    assert len(small.plan.faults) < len(failed.plan.faults)
    assert small.error is not None
    assert (str(again.error), again.digest) == (str(small.error), small.digest)
    assert simulate(small.plan, carriers).error is None, "it fails without the mutant"
