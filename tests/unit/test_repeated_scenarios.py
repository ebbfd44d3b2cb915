"""Tests of programs again and again on a busy machine: each time the same outcome, and no time lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from leadership_core import Candidate, Follower, Lost, Resigned, Term
from leadership_core.testing import StoreFaults
from tests.support.waiting import at_most


@pytest.fixture
def busy_processors() -> Iterator[None]:
    """Two processes that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def worker_stops_when_the_lease_is_lost() -> None:
    """The example that the documentation begins with."""
    with StoreFaults() as faults:
        candidate = Candidate(faults.store, "service/worker", "node-1", ttl=15)
        begun = threading.Event()
        ended: list[Term] = []

        def work(term: Term) -> None:
            begun.set()
            term.wait_lost()
            ended.append(term)
            candidate.stop()

        thread = threading.Thread(target=candidate.lead, args=(work,))
        thread.start()
        assert begun.wait(5)
        faults.clock.advance(20)
        thread.join(5)
        assert [term.lost for term in ended] == [True]


def each_fault_is_survived() -> None:
    """A longer one, in which each fault ends a term."""
    with StoreFaults() as faults:
        lost: list[str] = []
        leaders: list[str] = []

        def on_lost(event: Lost | Resigned) -> None:
            assert isinstance(event, Lost)
            lost.append(event.reason)

        candidate = Candidate(faults.store, "key", "a", ttl=15, on_lost=on_lost)
        follower = Follower(faults.open(), "key", on_leader=lambda one: leaders.append(str(one)))
        assert candidate.wait_elected(5)
        assert follower.wait_leader(5)
        faults.lose_lease("key")
        faults.clock.elapse(5)
        assert candidate.is_leader
        with faults.elect_other("key", "b"):
            faults.clock.elapse(5)
        faults.clock.elapse(10)
        assert candidate.is_leader
        with faults.store_down(faults.store):
            faults.clock.elapse(20)
            assert not candidate.is_leader
        faults.clock.elapse(20)
        assert candidate.is_leader
        with faults.slow(1):
            faults.clock.elapse(20)
            assert candidate.is_leader
        faults.clock.advance(20)
        assert not candidate.is_leader
        assert lost == ["session_lost", "session_lost", "expired", "expired"]
        # A vacancy that ends at the time at which it begins may be skipped.
        assert [one for one in leaders if one != "None"] == ["a", "a", "b", "a", "a"]
        assert (leaders[1], leaders[-1]) == ("None", "None")


@pytest.mark.parametrize("scenario", [worker_stops_when_the_lease_is_lost, each_fault_is_survived])
@pytest.mark.parametrize(
    "times", [20, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_scenario_has_the_same_outcome_each_time(
    scenario: Callable[[], None], times: int, busy_processors: None
) -> None:
    """All threads of the store have come to rest whenever time has passed."""
    threads = set(threading.enumerate())
    begun = time.monotonic()
    for _ in range(times):
        scenario()
        assert set(threading.enumerate()) == threads
    each = (time.monotonic() - begun) / times

    assert each < at_most(0.2)
