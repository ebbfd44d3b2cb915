"""Memory that is wanting for a moment, in the threads of the engine."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from leadership_core import Candidate, StoreHandle
from leadership_core.engine.scheduler import Scheduler
from leadership_core.eventcount import EventCount
from leadership_core.machine import Campaign, happenings as on


def test_scheduler_without_memory_to_wait_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait takes a lock of its own: the thread goes on when there is none."""
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
def test_step_that_fails_holds_nothing(
    store: StoreHandle, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """What it has left undone is never known: a new session stands, and the key is not held."""
    step, failures = Campaign.step, [MemoryError()]

    def failing(self: Campaign, now: float, happening: on.Happening) -> Any:
        if isinstance(happening, on.Resign) and failures:
            if done:
                step(self, now, happening)
            raise failures.pop()
        return step(self, now, happening)

    monkeypatch.setattr(Campaign, "step", failing)
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
