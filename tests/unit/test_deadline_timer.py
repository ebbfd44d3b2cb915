"""The deadline's timer: a loss is reported in time, whichever request hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from leadership_core import Candidate, Event, Store
from tests.unit.faulty import Fault, FaultyStore

# The term ends a third of the ttl before the session, whose end the watch would report, too.
_TTL, _MARGIN = 3.0, 1.0
_SOON = 0.45


class Listener:
    """Reads events in its own thread, so that a test can wait for an event with a time limit."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=[events], daemon=True).start()

    def receives(self, name: str, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: name in self.events, seconds)

    def _read(self, events: Iterator[Event]) -> None:
        for event in events:
            with self._changed:
                self.events.append(event.name)
                self._changed.notify_all()


def test_loss_is_reported_while_the_renewal_hangs(faulty: FaultyStore, opened: Store) -> None:
    """The program has not called `is_leader` meanwhile: the deadline has its own timer."""
    candidate = Candidate(opened, "key", "a", ttl=_TTL, margin=_MARGIN)
    listener = Listener(candidate.events())
    term = candidate.wait_elected(3)
    assert term is not None
    faulty.inject(Fault.HANGS, "renew")

    reported = listener.receives("lost", term.remaining() + _SOON)

    faulty.heal()
    assert reported, f"the lease has ended, and only {listener.events} were reported"


def test_loss_is_reported_while_a_request_hangs(faulty: FaultyStore, opened: Store) -> None:
    """The requests of another candidate occupy all threads, and the leader's loss is not delayed."""
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

    reported = listener.receives("lost", term.remaining() + _SOON)

    faulty.heal()
    assert reported, f"the lease has ended, and only {listener.events} were reported"
