"""The simulation finds the known mistakes of this field when they are put into the product."""

from __future__ import annotations

import pytest

from .hosts import Hosts
from .mutants import MUTANTS, Mutant
from .plan import Plan
from .run import simulate

pytestmark = pytest.mark.slow

SEEDS = 300


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_found(mutant: Mutant, hosts: Hosts) -> None:
    """Some seed fails with the mistake, and does not fail without it."""
    for seed in range(SEEDS):
        plan = Plan.of(seed, mutant.backend)
        with mutant.planted():
            found = simulate(plan, hosts).error is not None
        if found and simulate(plan, hosts).error is None:
            return
    raise AssertionError(f"{SEEDS} runs have not found it")
