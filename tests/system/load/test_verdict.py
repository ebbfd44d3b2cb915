"""The verdict of load tests, compared with that of the public check."""

from __future__ import annotations

import random
from math import inf

from leadership_core.testing import History, LeadershipInterval, check_history
from tests.system.load.verdict import faults_of, longest_gap


def _interval(token: int, since: float, until: float) -> LeadershipInterval:
    return LeadershipInterval("a", token, since, until, open=False)


def test_faults_agree_with_the_public_check() -> None:
    """Random terms are wrong for both, or for none."""
    rng, wrong = random.Random(7), 0
    for _ in range(500):
        at, terms = 0.0, []
        for token in range(1, 6):
            since = at + rng.uniform(-0.05, 1.0)
            at = since + rng.uniform(0.0, 1.0)
            terms.append(_interval(token + rng.choice([0, 0, 0, 0, -1]), since, at))
        history = History()
        history.intervals += terms
        public = [one for one in check_history(history) if not one.startswith("a:")]
        assert bool(list(faults_of(terms))) == bool(public), terms
        wrong += bool(public)
    assert 50 < wrong < 450


def test_longest_gap_counts_what_lies_between_two_times() -> None:
    terms = [_interval(1, 0.0, 10.0), _interval(2, 12.0, 20.0), _interval(3, 20.5, 30.0)]
    assert longest_gap(terms, 5.0, 25.0) == 2.0
    assert longest_gap(terms, 15.0, 33.0) == 3.0
    assert longest_gap(terms, 11.0, 25.0) == 1.0
    assert longest_gap(terms, 40.0, 50.0) == inf
