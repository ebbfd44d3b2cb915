"""A candidate whose events are not read."""

from __future__ import annotations

import time

from leadership_core import Candidate, Store
from tests.support.waiting import at_most


def test_unread_events_do_not_delay_the_candidate(store: Store) -> None:
    """It is elected and resigns as fast as with a reader."""
    candidate = Candidate(store, "key", "a", ttl=6)
    unread = candidate.events()
    begun = time.monotonic()

    for _ in range(3):
        assert candidate.wait_elected(40)
        assert candidate.is_leader
        candidate.resign(0)
    took = time.monotonic() - begun

    assert candidate.stop()
    assert took < at_most(1.5), f"three terms took {took:.1f} s"
    assert [event.name for event in unread].count("elected") >= 3
