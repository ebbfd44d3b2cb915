"""The shipped code on modelled servers, under faults.

A seed that fails is printed with the command that repeats it.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter

import pytest

from .backends import BACKENDS
from .carrier_threads import CarrierThreads
from .plan import Plan
from .run import Outcome, simulate
from .shrink import report

SLICE = 80
FEW = 6
PARTS = 20  # of a soak


def simulate_all(backend: str, seeds: range, carriers: CarrierThreads) -> list[Outcome]:
    """Run these seeds; fails with the report of the first run that fails."""
    outcomes = []
    for seed in seeds:
        outcome = simulate(Plan.of(seed, backend), carriers)
        if outcome.error is not None:
            raise AssertionError(report(outcome, carriers))
        outcomes.append(outcome)
        if seed % 50 == 0:
            gc.collect()
    return outcomes


@pytest.mark.parametrize("backend", BACKENDS)
def test_elections_are_safe_and_live_in_a_few_runs(backend: str, carriers: CarrierThreads) -> None:
    """With other seeds than below; for `make check`."""
    outcomes = simulate_all(backend, range(-FEW, 0), carriers)

    assert sum(outcome.terms for outcome in outcomes) > 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_elections_are_safe_and_live_under_faults(backend: str, carriers: CarrierThreads) -> None:
    """Never two leaders; tokens grow; events are in order; a leader in the end; no claim is left."""
    outcomes = simulate_all(backend, range(SLICE), carriers)

    events = sum((outcome.events for outcome in outcomes), Counter[str]())
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    assert sum(outcome.terms for outcome in outcomes) > 3 * SLICE
    assert max(outcome.places for outcome in outcomes) == BACKENDS[backend].places
    # The runs must contain all kinds of events and faults.
    for name in ("lost", "resigned", "suspended", "resumed", "store_down", "store_up", "stopped"):
        assert events[name] > 5, (name, events)
    for name in ("stall", "cut", "outage", "crash", "close", "late", "request lost", "answer lost"):
        assert faults[name] > 5, (name, faults)


@pytest.mark.soak
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_elections_are_safe_and_live_in_many_runs(
    backend: str, part: int, carriers: CarrierThreads
) -> None:
    """`SEEDS` runs for each backend, a thousand a minute at least."""
    seeds = int(os.environ.get("SEEDS", "10000"))
    first = SLICE + part * seeds // PARTS
    last = SLICE + (part + 1) * seeds // PARTS
    began = time.process_time()

    outcomes = simulate_all(backend, range(first, last), carriers)

    assert len(outcomes) == last - first
    assert time.process_time() - began < max(10.0, 0.06 * len(outcomes))
