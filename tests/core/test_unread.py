"""A program that does not read what it is told."""

from __future__ import annotations

import time

from leadership_core import Candidate, StoreHandle
from tests.support.machine import at_most


def test_an_event_that_nobody_reads_holds_up_nobody(store: StoreHandle) -> None:
    """It is elected, asked, resigns and is elected again, as quickly as if somebody read."""
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
