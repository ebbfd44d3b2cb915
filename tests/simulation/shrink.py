"""Reduction of a failing run to few faults."""

from __future__ import annotations

import re
from math import inf

from .carrier_threads import CarrierThreads
from .run import Outcome, simulate

__all__ = ["report", "shrunk"]

_MOST_RUNS = 150


def shrunk(outcome: Outcome, carriers: CarrierThreads) -> Outcome:
    """The smallest run found with the same failure, within 150 runs."""
    full, kind = outcome.plan, _kind(outcome)
    kept, messages, best, runs = [n for n, _ in full.faults], inf, outcome, 0

    def fails(numbers: list[int], until: float) -> bool:
        nonlocal best, runs
        runs += 1
        if runs > _MOST_RUNS:
            return False
        found = simulate(full.only(numbers, until), carriers)
        if found.error is None or _kind(found) != kind:
            return False
        best = found
        return True

    # First without network faults; else with as few as possible.
    if fails(kept, 0):
        messages = 0
    size = max(1, len(kept) // 2)
    while kept:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if fails(fewer, messages):
                kept = fewer
                break
        else:
            if size == 1:
                break
            size //= 2
    if messages:
        low, high = 0.0, float(best.messages)
        while high - low > 1 and runs < _MOST_RUNS:
            middle = (low + high) // 2
            if fails(kept, middle):
                high = middle
            else:
                low = middle
    return best


def report(outcome: Outcome, carriers: CarrierThreads) -> str:
    """Message about a failed run, with the command that repeats it."""
    small = shrunk(outcome, carriers)
    return (
        f"{outcome.plan.backend}, seed {outcome.plan.seed}: {outcome.error}\n"
        f"shrunk to {len(small.plan.faults)} faults: {small.error}\n{small.plan}"
    )


def _kind(outcome: Outcome) -> str:
    """The failure, without names and numbers."""
    return re.sub(r"p\d+\.\d+|[\d.]+|\W+|'.*'", " ", str(outcome.error))[:60]
