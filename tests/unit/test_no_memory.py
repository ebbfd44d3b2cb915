"""`MemoryError` in the threads of the engine."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from leadership_core import Candidate, Store
from leadership_core.backend.event_count import EventCount
from leadership_core.engine import messages
from leadership_core.engine.scheduler import Scheduler
from leadership_core.engine.state_machine import CandidateStateMachine
from tests.support.waiting import eventually
from tests.unit.faulty import FaultyStore


def test_scheduler_survives_memory_error_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting allocates a lock; the thread goes on when that fails."""
    scheduler, ran = Scheduler("leadership-test"), threading.Event()
    wait_for, failures = EventCount.wait_for, [MemoryError(), MemoryError()]

    def failing(self: EventCount, *args: Any) -> Any:
        if failures:
            raise failures.pop()
        return wait_for(self, *args)

    monkeypatch.setattr(EventCount, "wait_for", failing)
    scheduler.post(lambda: None)
    scheduler.post(ran.set)

    assert ran.wait(2)
    ran.clear()
    scheduler.post(ran.set)
    assert ran.wait(2)
    assert not failures
    scheduler.close()


@pytest.mark.parametrize("done", [False, True], ids=["nothing", "half of it"])
def test_failed_step_leaves_no_claim(
    store: Store, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Which commands were performed is unknown: the session is replaced, and the key is free again."""
    step, failures = CandidateStateMachine.step, [MemoryError()]

    def failing(self: CandidateStateMachine, now: float, message: messages.Input) -> Any:
        if isinstance(message, messages.Resign) and failures:
            if done:
                step(self, now, message)
            raise failures.pop()
        return step(self, now, message)

    monkeypatch.setattr(CandidateStateMachine, "step", failing)
    candidate = Candidate(store, "key", "a", ttl=1.0)
    first = candidate.wait_elected(3)
    assert first is not None
    candidate.resign(0)
    assert first.lost

    second = candidate.wait_elected(4)
    assert not failures
    assert second is not None
    assert second.token > first.token
    assert candidate.stop()


def test_failed_step_of_one_candidate_leaves_the_others_of_its_session(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the lease is reported once; each user of the session gets that report."""
    step, failures = CandidateStateMachine.step, [MemoryError()]

    def failing(self: CandidateStateMachine, now: float, message: messages.Input) -> Any:
        if isinstance(message, messages.LeaseEnded) and failures:
            raise failures.pop()
        return step(self, now, message)

    candidates = [Candidate(opened, f"key/{number}", "a", ttl=1.5) for number in range(3)]
    terms = [candidate.wait_elected(3) for candidate in candidates]
    monkeypatch.setattr(CandidateStateMachine, "step", failing)
    faulty.silence_watches()
    faulty.sessions[0].inner.close()

    assert eventually(lambda: all(term is not None and term.lost for term in terms), 2)
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))
    assert not failures
