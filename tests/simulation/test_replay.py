"""A seed is a run: it can be had again, and made smaller."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .backends import BACKENDS
from .hosts import Hosts
from .mutants import MUTANTS
from .plan import Plan
from .run import simulate
from .shrink import shrunk

ROOT = Path(__file__).parents[2]


def digest_elsewhere(seed: int, backend: str, hash_seed: str) -> str:
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


def names_of_the_product() -> dict[str, object]:
    """What all names in all its modules stand for."""
    return {
        f"{name}.{attribute}": value
        for name, module in list(sys.modules.items())
        if name.startswith("leadership_")
        for attribute, value in vars(module).items()
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_leaves_the_product_as_it_was(backend: str, hosts: Hosts) -> None:
    """Whatever is in its way on stage: the tests that come later have the real thing."""
    simulate(Plan.of(1, backend), hosts)
    before = names_of_the_product()

    for seed in range(20):
        simulate(Plan.of(seed, backend), hosts)

    after = names_of_the_product()
    assert {name for name in before if after[name] is not before[name]} == set()


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_is_the_same_run_in_any_process(backend: str, hosts: Hosts) -> None:
    """Neither what ran before nor how Python hashes has a part in it."""
    here = [simulate(Plan.of(seed, backend), hosts).digest for seed in (3, 4, 3)]

    assert here[0] == here[2] != here[1]
    assert {digest_elsewhere(3, backend, hashing) for hashing in ("1", "2")} == {here[0]}


def test_a_failure_is_shrunk_and_happens_again(hosts: Hosts) -> None:
    """What the failure does not need is left out, and the rest still fails in the same way."""
    (mutant,) = (one for one in MUTANTS if one.name == "a withdrawal deletes whatever is there")
    with mutant.planted():
        seeds = (simulate(Plan.of(seed, mutant.backend), hosts) for seed in range(100))
        failed = next(
            outcome for outcome in seeds if len(outcome.plan.faults) > 3 and outcome.error
        )
        small = shrunk(failed, hosts)
        again = simulate(small.plan, hosts)

    assert len(small.plan.faults) < len(failed.plan.faults)
    assert small.error is not None
    assert (str(again.error), again.digest) == (str(small.error), small.digest)
    assert simulate(small.plan, hosts).error is None, "without the mistake all is well"
