"""The scheduler: its one thread, and the memory of its timers."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Iterator

import pytest

from leadership_core import NotApplied, Store, open_store
from leadership_core.backend import clock
from leadership_core.engine.scheduler import Scheduler
from leadership_core.engine.store_base import internals
from tests.support.waiting import eventually


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    found = Scheduler("leadership-test")
    yield found
    found.close()


def test_cancelled_timers_are_freed(scheduler: Scheduler) -> None:
    """They were due hours later."""

    class Owner:
        def task(self) -> None:
            raise AssertionError

    def cancelled() -> weakref.ref[Owner]:
        owner = Owner()
        scheduler.call_at(clock.now() + 3600, owner.task).cancel()
        return weakref.ref(owner)

    owners: list[weakref.ref[Owner]] = []
    done = threading.Event()

    def cancel_many() -> None:  # in the scheduler's thread, as the engine does
        owners.extend(cancelled() for _ in range(1000))
        done.set()

    scheduler.post(cancel_many)
    assert done.wait(5)
    gc.collect()

    assert sum(one() is not None for one in owners) == 0
    assert scheduler.timers < 200


def test_timers_run_in_order_after_others_were_cancelled(scheduler: Scheduler) -> None:
    """The removal of cancelled timers keeps the order of the others."""
    ran: list[int] = []
    done = threading.Event()
    begin = clock.now() + 0.2
    timers = [
        scheduler.call_at(begin + number / 10_000, lambda number=number: ran.append(number))  # type: ignore[misc]  # mypy infers no lambda with defaults
        for number in range(500)
    ]

    def cancel_many() -> None:
        for number, timer in enumerate(timers):
            if number % 5:
                timer.cancel()

    scheduler.post(cancel_many)
    scheduler.call_at(begin + 0.1, done.set)

    assert done.wait(5)
    assert ran == list(range(0, 500, 5))


def test_failed_start_of_the_thread_is_retried(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failing call queues nothing, and the next one works."""
    ran = threading.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NotApplied, match="thread"):
            scheduler.post(pytest.fail)
        with pytest.raises(NotApplied, match="thread"):
            scheduler.call_at(clock.now(), pytest.fail)
        scheduler.post(ran.set, or_here=True)
        assert ran.is_set()
    ran.clear()
    scheduler.post(ran.set)

    assert ran.wait(5)


def test_interrupted_start_makes_no_second_thread(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread whose start was interrupted by a signal ends when it runs."""
    start = threading.Thread.start
    threads: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        threads.append(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scheduler.post(pytest.fail)
    ran = threading.Event()
    scheduler.post(ran.set)

    assert ran.wait(5)
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_lock_with_a_long_ttl_leaves_no_timers(unique_key: str) -> None:
    """Repeated acquisition and release need no more memory than one."""
    with open_store(f"memory://{unique_key}") as store:
        lock = store.lock("a", ttl=3600)
        sizes = []
        for _ in range(3):
            for _ in range(60):
                assert lock.acquire(5) is not None
                assert lock.release()
            gc.collect()
            if not tracemalloc.is_tracing():
                tracemalloc.start()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()

        assert internals(store).engine.scheduler.timers < 200
        assert sizes[2] - sizes[1] < 100_000


def test_closed_store_holds_no_sessions(store_of_memory: Store) -> None:
    """A session that has ended, confirmed by the store, is forgotten."""
    for number in range(20):
        lock = store_of_memory.lock(f"key-{number}", ttl=5)
        assert lock.acquire(5) is not None
        assert lock.release()

    assert eventually(lambda: not internals(store_of_memory).engine.sessions.all)


@pytest.fixture
def store_of_memory(unique_key: str) -> Iterator[Store]:
    with open_store(f"memory://{unique_key}") as store:
        yield store
