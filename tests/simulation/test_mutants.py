"""The simulation kills the mutants of `tests.mutation` that name a backend."""

from __future__ import annotations

import pytest

from tests.mutation.catalogue import SIMULATED
from tests.mutation.mutant import Mutant

from .carrier_threads import CarrierThreads
from .plan import Plan
from .run import simulate

pytestmark = pytest.mark.slow

SEEDS = 300


@pytest.mark.parametrize("mutant", SIMULATED, ids=str)
def test_simulation_kills_mutant(mutant: Mutant, carriers: CarrierThreads) -> None:
    """Some seed fails with the mutant, and passes without it."""
    for seed in range(SEEDS):
        plan = Plan.of(seed, mutant.backend)
        with mutant.planted():
            found = simulate(plan, carriers).error is not None
        if found and simulate(plan, carriers).error is None:
            return
    raise AssertionError(f"{SEEDS} runs have not found it")
