"""Whole processes, as they are shipped, on modelled servers: nothing may be wrong after any run.

A seed that fails is printed with the command that makes it happen again.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter

import pytest

from .backends import BACKENDS
from .hosts import Hosts
from .plan import Plan
from .run import Outcome, simulate
from .shrink import report

SLICE = 80
FEW = 6
PARTS = 20  # of a soak


def simulate_all(backend: str, seeds: range, hosts: Hosts) -> list[Outcome]:
    """Run these seeds; fails with what is wrong with the first that is not as it should be."""
    outcomes = []
    for seed in seeds:
        outcome = simulate(Plan.of(seed, backend), hosts)
        if outcome.error is not None:
            raise AssertionError(report(outcome, hosts))
        outcomes.append(outcome)
        if seed % 50 == 0:
            gc.collect()
    return outcomes


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_few_seeds(backend: str, hosts: Hosts) -> None:
    """Others than those of the slice below, which `make check` leaves out."""
    outcomes = simulate_all(backend, range(-FEW, 0), hosts)

    assert sum(outcome.terms for outcome in outcomes) > 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_elections_are_safe_and_live_whatever_happens(backend: str, hosts: Hosts) -> None:
    """Never two believers; tokens grow; stories are in order; nothing is left; all ends well."""
    outcomes = simulate_all(backend, range(SLICE), hosts)

    events = sum((outcome.events for outcome in outcomes), Counter[str]())
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    assert sum(outcome.terms for outcome in outcomes) > 3 * SLICE
    # It would prove nothing if all this never happened in it.
    for name in ("lost", "resigned", "suspended", "resumed", "store_down", "store_up", "stopped"):
        assert events[name] > 5, (name, events)
    for name in ("stall", "cut", "outage", "crash", "close", "late", "request lost", "answer lost"):
        assert faults[name] > 5, (name, faults)


@pytest.mark.soak
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_many_elections(backend: str, part: int, hosts: Hosts) -> None:
    """As many seeds as `SEEDS` says for each backend, at no less than a thousand a minute."""
    seeds = int(os.environ.get("SEEDS", "10000"))
    first = SLICE + part * seeds // PARTS
    last = SLICE + (part + 1) * seeds // PARTS
    began = time.process_time()

    outcomes = simulate_all(backend, range(first, last), hosts)

    assert len(outcomes) == last - first
    assert time.process_time() - began < max(10.0, 0.06 * len(outcomes))
