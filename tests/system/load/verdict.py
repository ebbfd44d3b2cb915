"""Verdict on the terms of one election: no two at a time, growing tokens, and times without a leader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from leadership_core.testing import LeadershipInterval

__all__ = ["faults_of", "longest_gap"]


def faults_of(intervals: Iterable[LeadershipInterval]) -> Iterator[str]:
    """Yield what `check_history` says of the intervals of one election, in linear time.

    Of several intervals that one overlaps, the one that ends last is named.
    """
    latest: LeadershipInterval | None = None  # of those before, the one that ends last
    largest: LeadershipInterval | None = None  # and the one with the largest token
    for one in sorted(intervals, key=lambda each: each.since):
        # `since` may come after `until`: the only reading was in between, at an unknown moment.
        if latest is not None and one.since <= latest.until and latest.since <= one.until:
            yield f"two leaders: {latest} and {one}"
        elif largest is not None and one.token <= largest.token:
            yield f"tokens do not grow: {largest} and then {one}"
        if latest is None or one.until > latest.until:
            latest = one
        if largest is None or one.token > largest.token:
            largest = one


def longest_gap(intervals: Iterable[LeadershipInterval], since: float, until: float) -> float:
    """Return the longest time in seconds without a leader between two times; inf if there was no leader."""
    longest, led_until = 0.0, since
    for one in sorted(intervals, key=lambda each: each.since):
        if one.until < since:
            continue
        if one.since >= until:
            break
        longest = max(longest, one.since - led_until)
        led_until = max(led_until, one.until)
    return inf if led_until == since else max(longest, until - led_until)
