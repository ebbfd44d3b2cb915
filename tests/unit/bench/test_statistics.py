"""Medians, intervals and ratios of pairs."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, strategies as st

from leadership_bench.statistics import interval_of_median, percentile, ratio, summarise


@pytest.mark.parametrize(
    ("n", "low", "high"), [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)]
)
def test_interval_has_the_ranks_of_the_binomial_table(n: int, low: int, high: int) -> None:
    """The published ranks for a confidence of 95 %; with fewer than six values it is all of them."""
    values = [float(number) for number in range(1, n + 1)]
    random.Random(n).shuffle(values)

    assert interval_of_median(values) == (low, high)


def test_interval_holds_the_true_median_in_95_of_100_samples() -> None:
    """Also for a distribution with a long tail."""
    rng = random.Random(11)
    samples = [[rng.lognormvariate(0, 2) for _ in range(15)] for _ in range(2000)]

    held = sum(low <= 1.0 <= high for low, high in map(interval_of_median, samples))

    assert held >= 0.94 * len(samples)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_interval_encloses_the_median(values: list[float]) -> None:
    """Its ends are values of the sample, on both sides of the median."""
    low, high = interval_of_median(values)

    assert low <= statistics.median(values) <= high
    assert {low, high} <= set(values)


def test_ratio_is_that_of_pairs() -> None:
    """A slow moment that hits both of a pair leaves their ratio as it is; gaps leave no pair."""
    theirs = [1.0, 1.0, 100.0, None, 2.0, 0.0]
    ours = [0.5, 0.5, 50.0, 7.0, None, 1.0]

    found = ratio(ours, theirs)

    assert found is not None
    assert (found.n, found.median, found.low, found.high) == (3, 0.5, 0.5, 0.5)


def test_ratio_without_pairs_is_none() -> None:
    """Without a pair there is no ratio to report."""
    assert ratio([None, 1.0], [1.0, None]) is None
    assert ratio([], []) is None


def test_summary_leaves_gaps_out() -> None:
    """A hand-over that did not happen has no time."""
    found = summarise([3.0, None, 1.0, 2.0])

    assert found is not None
    assert (found.n, found.median, found.least, found.largest, found.p99) == (3, 2.0, 1.0, 3.0, 3.0)
    assert summarise([None]) is None


def test_percentile_is_a_value_of_the_sample() -> None:
    """The least that is not exceeded by the share."""
    values = [float(number) for number in range(1, 201)]

    assert percentile(values, 0.99) == 198
    assert percentile([5.0], 0.99) == 5
