"""The end of a term is told in time, whatever else hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from leadership_core import Candidate, Event, StoreHandle
from tests.core.faulty import Fault, FaultyStore

# Belief ends a third of the ttl before the session does, which its watch would tell of, too.
_TTL, _MARGIN = 1.8, 0.6
_SOON = 0.45


class Listener:
    """Reads a story in a thread of its own, so that a test can wait for an event in vain."""

    def __init__(self, story: Iterator[Event]) -> None:
        self.told: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, args=[story], daemon=True).start()

    def hears(self, name: str, seconds: float) -> bool:
        with self._news:
            return self._news.wait_for(lambda: name in self.told, seconds)

    def _read(self, story: Iterator[Event]) -> None:
        for event in story:
            with self._news:
                self.told.append(event.name)
                self._news.notify_all()


def test_a_loss_is_told_while_the_renewal_hangs(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Nobody has asked whether it leads; the deadline has a timer of its own."""
    candidate = Candidate(opened, "key", "a", ttl=_TTL, margin=_MARGIN)
    listener = Listener(candidate.events())
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.HANGS, "renew")

    told = listener.hears("lost", term.remaining() + _SOON)

    faulty.heal()
    assert told, f"the lease is over, and only {listener.told} was told"


def test_a_loss_is_told_while_a_request_hangs(faulty: FaultyStore, opened: StoreHandle) -> None:
    """That of another candidate; whoever leads hears of its own end in time."""
    candidate = Candidate(opened, "key", "a", ttl=_TTL, margin=_MARGIN)
    listener = Listener(candidate.events())
    term = candidate.wait_elected(3)
    assert term is not None
    before = sum(faulty.calls[one] for one in ("put_claim", "get"))
    faulty.inject(Fault.HANGS, "put_claim", "get")
    Candidate(opened, "other", "b", ttl=_TTL).run_for_election()
    until = time.monotonic() + 3.0
    while (
        sum(faulty.calls[one] for one in ("put_claim", "get")) == before
        and time.monotonic() < until
    ):
        time.sleep(0.01)
    faulty.inject(Fault.HANGS, "renew")

    told = listener.hears("lost", term.remaining() + _SOON)

    faulty.heal()
    assert told, f"the lease is over, and only {listener.told} was told"
