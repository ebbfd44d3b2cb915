"""Margins, limits of requests, and backoff."""

from __future__ import annotations

import random
import time
from math import inf, nan

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.backend.validation import check_ttl
from leadership_core.engine.backoff import Backoff
from leadership_core.engine.timing import request_limit, safety_margin
from leadership_core.errors import ConfigurationError
from tests.unit.odd_numbers import NO_SECONDS, name_of


@pytest.mark.parametrize(
    ("ttl", "wanted", "least", "margin"),
    [
        (15.0, None, 0.0, 1.5),
        (3.0, None, 0.0, 0.5),
        (0.9, None, 0.0, 0.3),
        (100.0, None, 0.0, 10.0),
        (15.0, 5.0, 0.0, 5.0),
        (15.0, 0.01, 0.0, 0.01),
        (15.0, 0.01, 1.0, 1.0),
        (15.0, None, 3.0, 3.0),
        (15.0, None, 5.0, 5.0),
    ],
)
def test_margin(ttl: float, wanted: float | None, least: float, margin: float) -> None:
    """It is a tenth of the ttl, but between 0.5 s and a third, and at least the store's margin."""
    assert safety_margin(ttl, wanted, least) == pytest.approx(margin)


@pytest.mark.parametrize(
    ("wanted", "least"),
    [(5.01, 0.0), (0.0, 0.0), (-1.0, 0.0), (inf, 0.0), (nan, 0.0), (True, 0.0), (None, 5.01)],
)
def test_margin_above_a_third_of_the_ttl_is_rejected(wanted: float | None, least: float) -> None:
    """Neither the user's nor the store's may exceed a third of the ttl."""
    with pytest.raises(ConfigurationError):
        safety_margin(15.0, wanted, least)


@pytest.mark.parametrize("ttl", [0, -1, 1e300, *NO_SECONDS], ids=name_of)
def test_invalid_ttl_is_rejected(ttl: float) -> None:
    """Only positive finite numbers are accepted."""
    with pytest.raises(ConfigurationError, match="ttl") as caught:
        check_ttl(ttl)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("odd", [one for one in NO_SECONDS if one is not None], ids=name_of)
def test_invalid_seconds_are_rejected_by_each_method(odd: float) -> None:
    """The error is no `TypeError` from a comparison or a lock."""
    with open_store("memory://odd-seconds") as store:
        candidate, follower = Candidate(store, "key", "a", ttl=1), Follower(store, "key")
        term = candidate.wait_elected(5)
        assert term is not None
        for take in (
            lambda: Candidate(store, "key", "b", margin=odd),
            lambda: candidate.wait_elected(odd),
            lambda: candidate.leading(odd).__enter__(),
            lambda: candidate.resign(odd),
            lambda: candidate.stop(odd),
            lambda: candidate.lead(print, cooldown=odd),
            lambda: follower.wait_leader(odd),
            lambda: term.ensure(odd),
            lambda: term.wait_lost(odd),
            lambda: store.lock("lock").acquire(odd),
            lambda: store.close(odd),
            lambda: store.open_session(odd),
        ):
            with pytest.raises(ConfigurationError):
                take()
        assert candidate.is_leader


@pytest.mark.parametrize("long", [1e10, 1e300, 10**300], ids=name_of)
def test_very_long_timeouts_are_accepted(long: float) -> None:
    """They exceed the longest timeout of a lock in the standard library."""
    with open_store("memory://long-waits") as store:
        candidate, follower = Candidate(store, "key", "a", ttl=1), Follower(store, "key")
        term = candidate.wait_elected(long)
        assert term is not None
        assert follower.wait_leader(long) is not None
        with store.lock("lock"):
            pass
        assert store.lock("lock").acquire(long) is not None
        assert candidate.resign(long)
        assert term.wait_lost(long)
        other = Candidate(store, "key", "b", ttl=1)
        assert other.wait_elected(5) is not None
        time.sleep(0.05)
        assert other.is_leader
        assert candidate.stop(long)
        assert store.close(long)


def test_request_limit_is_never_negative() -> None:
    """The lease may have ended long ago."""
    assert request_limit(9.0) == 3.0
    assert request_limit(9.0, -5.0) == 0.0


def test_backoff_spreads_and_is_capped() -> None:
    """With full jitter each wait is anything from 0 to the cap."""
    backoff = Backoff(5.0, random.Random(1))
    waits = [backoff.next() for _ in range(400)]

    assert waits[0] <= 0.1
    assert max(waits) <= 5.0
    assert 2.0 < sum(waits[10:]) / len(waits[10:]) < 3.0
    backoff.reset()
    assert backoff.next() <= 0.1


def test_eager_backoff_has_no_wait_before_the_first_try() -> None:
    """After the first try it is like a backoff that is not eager."""
    backoff = Backoff(5.0, random.Random(1), eager=True)

    assert backoff.next() == 0.0
    assert sum(backoff.next() for _ in range(50)) > 50
