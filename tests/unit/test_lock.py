"""Locks: one holder at a time, with a term, and release in all cases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Fenced,
    Follower,
    LeadershipLost,
    Lock,
    NotElected,
    Store,
    StoreClosed,
    Term,
)
from tests.support.waiting import at_most, eventually
from tests.unit.faulty import Fault, FaultyStore

Open = Callable[[], Store]


class Waiter(threading.Thread):
    """Acquires a lock in its own thread, and holds it until `release` is called."""

    def __init__(self, lock: Lock) -> None:
        super().__init__(name="waiter", daemon=True)
        self.lock = lock
        self.term: Term | None = None
        self.let_go = threading.Event()
        self.start()

    def run(self) -> None:
        with self.lock as self.term:
            self.let_go.wait(20)

    def end(self) -> None:
        self.let_go.set()
        self.join(20)


def test_lock_has_one_holder(open_one: Open) -> None:
    """After its release another program gets it, with a larger token."""
    mine, other = open_one().lock("a", "mine", ttl=5), open_one().lock("a", "other", ttl=5)
    first = mine.acquire()
    assert first is not None

    assert other.acquire(timeout=0.3) is None
    assert mine.term is first
    assert mine.release() is True
    second = other.acquire(timeout=5)

    assert first.lost
    assert second is not None
    assert second.token > first.token
    assert mine.term is None
    assert mine.release() is False
    assert other.release() is True


def test_lock_as_context_manager_yields_its_term(store: Store) -> None:
    """The term is valid in the block and over after it; the lock can be entered again."""
    lock = store.lock("a", ttl=5)
    with lock as first:
        first.check()
        store.put("data", b"1", fence=first)
    with lock as second:
        with pytest.raises(Fenced):
            store.put("data", b"late", fence=first)
        store.put("data", b"2", fence=second.fence)

    assert second.lost
    assert second.token > first.token
    assert store.leader("a") is None


def test_lock_is_released_after_an_error_in_the_block(store: Store) -> None:
    """The error is raised unchanged, and the lock is free."""
    with pytest.raises(RuntimeError, match="work"), store.lock("a", ttl=5):
        raise RuntimeError("work")

    assert store.leader("a") is None


def test_lock_and_candidate_of_one_key_exclude_each_other(open_one: Open) -> None:
    """Followers see who holds the lock, and a candidate waits for it."""
    store, other = open_one(), open_one()
    candidate = Candidate(other, "a", "candidate", ttl=5)
    with store.lock("a", "holder", ttl=5) as term:
        leader = other.leader("a")
        assert leader is not None
        assert (leader.value, leader.token) == ("holder", term.token)
        assert candidate.wait_elected(0.3) is None

    assert candidate.wait_elected(5) is not None
    assert store.lock("a", ttl=5).acquire(timeout=0.2) is None
    candidate.stop()


def test_lock_is_not_reentrant(store: Store) -> None:
    """A thread that holds the lock would wait for itself, so it gets an error."""
    lock = store.lock("a", ttl=5)
    with lock as term:
        with pytest.raises(ConfigurationError, match="not reentrant"):
            lock.acquire(timeout=1)
        with pytest.raises(ConfigurationError, match="not reentrant"):
            lock.__enter__()
        assert not term.lost


def test_threads_that_share_a_lock_take_turns(store: Store) -> None:
    """Each gets it once, no two at the same time, and nothing is left after the last."""
    lock, inside, most, tokens = store.lock("a", ttl=5), [0], [0], []

    def work() -> None:
        with lock as term:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            tokens.append(term.token)
            time.sleep(0.02)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert most == [1]
    assert len(tokens) == 4
    assert tokens == sorted(set(tokens))
    assert store.leader("a") is None


def test_tasks_of_a_thread_pool_share_a_lock(store: Store) -> None:
    """Each waits for its turn, in whichever thread it runs, and releases its own term."""
    lock, inside, most = store.lock("a", ttl=5), [0], [0]

    def task(_: int) -> int:
        term = lock.acquire(20)
        assert term is not None
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        inside[0] -= 1
        assert lock.release(term) is True
        return term.token

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(task, range(20)))

    assert most == [1]
    assert len(set(tokens)) == 20
    assert store.leader("a") is None


def test_acquisition_by_a_thread_that_has_acquired_waits(store: Store) -> None:
    """The thread may run another task by now, so only a `with` block of its own is an error."""
    lock = store.lock("a", ttl=5)
    first = lock.acquire(5)
    assert first is not None
    assert lock.acquire(0) is None
    threading.Timer(0.2, lock.release, [first]).start()

    second = lock.acquire(5)

    assert second is not None
    assert second.token > first.token
    assert lock.release(second) is True


def test_late_release_ends_no_other_term(store: Store) -> None:
    """It comes from a reused thread, from another thread, or twice."""
    lock = store.lock("a", ttl=5)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lock.acquire, 5).result()
        assert first is not None
        store.delete("a")
        assert first.wait_lost(5)
        second = pool.submit(lock.acquire, 5).result()
        assert second is not None
        assert pool.submit(lock.release, first).result() is False
        assert lock.release(first) is False
        with pytest.raises(ConfigurationError, match=r"lock.release\(term\)"):
            lock.release()

        assert second.remaining() > 0
        assert lock.term is second
        assert pool.submit(lock.release).result() is True
        assert lock.release(second) is False


def test_block_that_was_handed_to_another_thread_releases_its_term(store: Store) -> None:
    """An `ExitStack` is closed in the other thread."""
    lock, stack = store.lock("a", ttl=5), ExitStack()
    term = stack.enter_context(lock)
    thread = threading.Thread(target=stack.close)
    thread.start()
    thread.join(5)

    assert term.lost
    assert store.leader("a") is None


def test_release_inside_the_block_is_no_loss(store: Store) -> None:
    """The end of the block raises nothing, and ends no term of another thread."""
    lock = store.lock("a", ttl=5)
    with lock as term:
        assert lock.release(term) is True
        waiter = Waiter(lock)
        assert eventually(lambda: waiter.term)

    assert waiter.term is not None
    assert waiter.term.remaining() > 0
    waiter.end()


def test_acquire_without_waiting(open_one: Open) -> None:
    """It takes a free lock, and returns as soon as the store has answered that it is held."""
    mine, other = open_one(), open_one()
    lock = mine.lock("a", ttl=9)
    for _ in range(3):
        assert lock.acquire(0) is not None
        begun = time.monotonic()
        assert other.lock("a", ttl=9).acquire(0) is None
        assert time.monotonic() - begun < at_most(1.5)
        assert lock.release() is True
    assert lock.acquire(0.001) is not None
    assert lock.release() is True


def test_candidates_that_do_not_wait(open_one: Open) -> None:
    """`leading(0)` and `wait_elected(0)` ask the store once; so does `wait_leader(0)`."""
    mine, other = open_one(), open_one()
    candidate, rival = Candidate(mine, "a", "me", ttl=9), Candidate(other, "a", "rival", ttl=9)
    assert Follower(other, "a").wait_leader(0) is None
    with candidate.leading(0):
        begun = time.monotonic()
        assert rival.wait_elected(0) is None
        assert rival.wait_elected(0) is None
        with pytest.raises(NotElected), Candidate(other, "a", "third", ttl=9).leading(0):
            pass
        assert str(Follower(other, "a").wait_leader(0)) == "me"
        assert time.monotonic() - begun < at_most(2)
        assert rival.stop()
    with candidate.leading(0):
        pass
    candidate.stop()


def test_acquire_without_waiting_from_a_store_that_hangs(
    faulty: FaultyStore, opened: Store
) -> None:
    """It takes the time limit of one request at most, a third of the ttl."""
    faulty.inject(Fault.REQUEST_LOST)
    begun = time.monotonic()

    with pytest.raises(NotElected, match="has not answered"):
        opened.lock("a", ttl=3).acquire(0)

    assert time.monotonic() - begun < at_most(3)


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("inf"), "1", True])
def test_invalid_timeout_is_refused_by_every_method(store: Store, timeout: float) -> None:
    """A negative number, or no number, raises at once."""
    candidate, follower, lock = Candidate(store, "a", "me", ttl=5), Follower(store, "b"), None
    term = candidate.wait_elected(5)
    assert term is not None
    lock = store.lock("c", ttl=5)
    calls: list[Callable[[float], object]] = [
        candidate.wait_elected,
        candidate.stop,
        lambda seconds: candidate.leading(seconds).__enter__(),
        term.wait_lost,
        follower.wait_leader,
        lock.acquire,
        store.close,
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="timeout must be a number of seconds"):
            call(timeout)
    assert candidate.is_leader


def test_lock_is_released_by_another_thread(store: Store) -> None:
    """That thread names the term; the holder's block ends no other term."""
    lock = store.lock("a", ttl=5)
    waiter = Waiter(lock)
    assert eventually(lambda: waiter.term)

    with pytest.raises(ConfigurationError, match="name the term"):
        lock.release()
    assert lock.release(waiter.term) is True

    assert waiter.term is not None
    assert waiter.term.lost
    with lock as term:
        waiter.end()  # whose exit releases what it held, not what is held now
        assert not term.lost


def test_exit_of_a_lost_lock_keeps_the_next_holder(faulty: FaultyStore, opened: Store) -> None:
    """The next holder, in this program or another, keeps the lock."""
    lock, waiters = opened.lock("a", ttl=5), []

    def work() -> None:
        with lock as first:
            faulty.inner.delete("a")
            assert first.wait_lost(2)
            waiters.append(Waiter(lock))
            assert eventually(lambda: waiters[0].term)

    with pytest.raises(LeadershipLost, match="lost before its with block ended"):
        work()

    (waiter,) = waiters
    assert waiter.term is not None
    assert not waiter.term.lost
    waiter.end()
    assert waiter.term.lost


def test_followers_see_the_holder(open_one: Open) -> None:
    """They see its value, and then no leader."""
    follower = Follower(open_one(), "a")
    stream = follower.follow_election()
    assert next(stream) is None

    with open_one().lock("a", "holder", ttl=5):
        assert str(next(stream)) == "holder"

    assert next(stream) is None
    follower.stop()


def test_closing_the_store_ends_a_wait_and_a_lock(open_one: Open) -> None:
    """A waiting call raises StoreClosed; the holder's term is over, and its claim released."""
    holding, waiting = open_one(), open_one()
    lock = holding.lock("a", ttl=5)
    term = lock.acquire()
    assert term is not None
    closer = threading.Timer(0.3, waiting.close)
    closer.start()

    with pytest.raises(StoreClosed):
        waiting.lock("a", ttl=5).acquire()

    assert holding.close()
    assert term.lost
    assert lock.term is None
    with pytest.raises(StoreClosed):
        lock.acquire()
    closer.join()
