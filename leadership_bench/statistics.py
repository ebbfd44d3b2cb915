"""Medians, and ratios of paired values with their intervals; no value is assumed to be normal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "Summary", "interval_of_median", "percentile", "ratio", "summarise"]

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said about a series: its size, median, 99th percentile, least and largest value."""

    n: int
    median: float
    p99: float
    least: float
    largest: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the ratios of pairs, with an interval that holds the true median in 95 of 100 runs.

    Attributes:
        n: the number of pairs.
        median: of the ratios.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    n: int
    median: float
    low: float
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed.

    Args:
        values: one at least.
        share: between 0 and 1.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarise(values: Sequence[float | None]) -> Summary | None:
    """Summarise the values that were measured; None if there are none."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    return Summary(
        len(found),
        statistics.median(found),
        percentile(found, 0.99),
        min(found),
        max(found),
    )


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Ratio | None:
    """Compare two series that were measured in turn: the first value of one with that of the other.

    Pairs with a missing value, and those whose second value is not positive, are left out.

    Returns:
        None if there is no pair.
    """
    ratios = sorted(
        one / other
        for one, other in zip(ours, theirs, strict=False)
        if one is not None and other is not None and other > 0
    )
    if not ratios:
        return None
    low, high = interval_of_median(ratios)
    return Ratio(len(ratios), statistics.median(ratios), low, high)


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval of order statistics that holds the median with a confidence of 95 %.

    The number of values below the median is binomial, whatever the distribution. With fewer than
    six values no interval has that confidence: the least and the largest are returned then.

    Args:
        values: one at least.
    """
    ordered = sorted(values)
    n = len(ordered)
    # The largest k such that fewer than k values lie below the median in 2.5 % of all cases at most.
    below, k = 0.0, 0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if below > (1 - _CONFIDENCE) / 2:
            break
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]
