"""The simulation finds the known mistakes of this field when they are put into the product."""

from __future__ import annotations

import pytest

from .hosts import Hosts
from .mutants import MUTANTS, Mutant
from .plan import Plan
from .run import simulate

SEEDS = 300


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_found(mutant: Mutant, hosts: Hosts) -> None:
    """Some seed fails with the mistake, and does not fail without it."""
    with mutant.planted():
        outcomes = (simulate(Plan.of(seed, mutant.backend), hosts) for seed in range(SEEDS))
        failed = next((outcome for outcome in outcomes if outcome.error), None)

    assert failed is not None, f"{SEEDS} runs have not found it"
    assert simulate(failed.plan, hosts).error is None
