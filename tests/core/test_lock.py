"""Locks: held by one, with a term, and given back whatever happens."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Fenced,
    Follower,
    Lock,
    StoreClosed,
    StoreHandle,
    StoreRefused,
    Term,
)
from tests.core.faulty import Fault, FaultyStore, eventually

Open = Callable[[], StoreHandle]


class Waiter(threading.Thread):
    """Acquires a lock in a thread of its own, and holds it until it is told to let go."""

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


def test_a_lock_is_held_by_one(open_one: Open) -> None:
    """Another program gets it when it is released, with a larger token."""
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


def test_a_lock_is_a_context_manager_that_yields_its_term(store: StoreHandle) -> None:
    """It stands inside, for fenced writes, and is over behind; it can be entered again."""
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


def test_an_error_inside_releases(store: StoreHandle) -> None:
    """What the work raises goes on its way, and the lock is free."""
    with pytest.raises(RuntimeError, match="work"), store.lock("a", ttl=5):
        raise RuntimeError("work")

    assert store.leader("a") is None


def test_a_lock_and_an_election_of_one_name_exclude_each_other(open_one: Open) -> None:
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


def test_it_is_not_reentrant(store: StoreHandle) -> None:
    """The thread that holds it would wait for itself; it is told so."""
    lock = store.lock("a", ttl=5)
    with lock as term:
        with pytest.raises(ConfigurationError, match="not reentrant"):
            lock.acquire(timeout=1)
        with pytest.raises(ConfigurationError, match="not reentrant"):
            lock.__enter__()
        assert term.stands()


def test_threads_that_share_a_lock_take_turns(store: StoreHandle) -> None:
    """Each gets it once, none at the same time, and the last leaves nothing behind."""
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


def test_another_thread_may_release(store: StoreHandle) -> None:
    """As with a lock of the standard library; who held it finds its term over."""
    lock = store.lock("a", ttl=5)
    waiter = Waiter(lock)
    assert eventually(lambda: waiter.term)

    assert lock.release() is True

    assert waiter.term is not None
    assert waiter.term.lost
    with lock as term:
        waiter.end()  # whose exit releases what it held, not what is held now
        assert term.stands()


def test_a_wait_that_times_out_leaves_no_claim(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Nobody stands any more, the session is closed, and the next one gets it at once."""
    other = faulty.opened()
    with opened.lock("a", ttl=5) as first:
        assert other.lock("a", ttl=5).acquire(timeout=0.1) is None
        assert eventually(lambda: len(faulty.alive()) == 1)
        assert first.stands()

    assert faulty.inner.get("a") is None
    assert eventually(lambda: not faulty.alive())
    other.close()


def test_a_wait_is_over_in_time_even_if_the_store_hangs(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """What may have been entered is looked after in the background, and goes in the end."""
    faulty.inject(Fault.REPLY_LOST, "put_claim")
    faulty.inject(Fault.REQUEST_LOST, "get", "delete")
    begun = time.monotonic()

    assert opened.lock("a", ttl=3).acquire(timeout=0.5) is None

    assert time.monotonic() - begun < 2.5
    faulty.heal()
    assert eventually(lambda: faulty.inner.get("a") is None, within=8)


def test_an_interrupt_while_waiting_leaves_no_claim(store: StoreHandle, open_one: Open) -> None:
    """Ctrl-C ends the wait at once, and what the waiting has left is taken back."""
    lock = open_one().lock("a", ttl=5)

    def press_ctrl_c() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    with store.lock("a", ttl=5):
        threading.Thread(target=press_ctrl_c, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()

    time.sleep(0.2)
    assert store.leader("a") is None
    assert lock.term is None


def test_a_lock_that_is_lost_is_not_taken_again_behind_ones_back(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The term says that it is over, the release says so, too, and a new acquire is a new term."""
    lock = opened.lock("a", ttl=5)
    first = lock.acquire(timeout=5)
    assert first is not None

    faulty.inner.delete("a")

    assert first.wait_lost(2)
    time.sleep(0.3)  # a candidate would have been elected again by now
    assert opened.leader("a") is None
    assert lock.term is None
    second = lock.acquire(timeout=5)
    assert second is not None
    assert second.token > first.token
    assert lock.release() is True
    assert lock.release() is False


def test_the_exit_of_a_lost_lock_does_not_release_another_holders(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Whoever has taken it meanwhile, in this program or elsewhere, keeps it."""
    lock = opened.lock("a", ttl=5)
    with lock as first:
        faulty.inner.delete("a")
        assert first.wait_lost(2)
        waiter = Waiter(lock)
        assert eventually(lambda: waiter.term)

    assert waiter.term is not None
    assert waiter.term.stands()
    waiter.end()
    assert waiter.term.lost


def test_an_outage_ends_the_term_in_time_and_the_lock_is_free_afterwards(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The term ends before the lease; once the store is back nobody holds the lock."""
    lock = opened.lock("a", ttl=1.5)
    term = lock.acquire(timeout=5)
    assert term is not None
    begun = time.monotonic()

    faulty.inject(Fault.UNAVAILABLE)

    assert term.wait_lost(2)
    assert time.monotonic() - begun < 1.5
    faulty.heal()
    assert eventually(lambda: faulty.inner.get("a") is None)
    assert lock.release() is False


def test_followers_see_the_holder(open_one: Open) -> None:
    """Its value, and then nobody."""
    follower = Follower(open_one(), "a")
    story = follower.follow_election()
    assert next(story) is None

    with open_one().lock("a", "holder", ttl=5):
        assert str(next(story)) == "holder"

    assert next(story) is None
    follower.stop()


def test_closing_the_store_ends_a_wait_and_a_lock(open_one: Open) -> None:
    """Who waits is told that it is closed; who holds it finds its term over, and released."""
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


def test_what_the_store_refuses_is_raised(faulty: FaultyStore, opened: StoreHandle) -> None:
    """A mistake in the configuration is not waited out."""
    faulty.inject(Fault.REFUSED, "open_session")

    with pytest.raises(StoreRefused):
        opened.lock("a", ttl=5).acquire(timeout=5)
    with pytest.raises(ConfigurationError, match="timeout"):
        opened.lock("a", ttl=5).acquire(timeout=-1)


def test_a_forked_child_does_not_release(store: StoreHandle) -> None:
    """It leaves the block as its parent does, and the parent goes on holding the lock."""
    lock = store.lock("a", ttl=5)
    with lock as term:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                lock.__exit__(None, None, None)
                code = not term.lost
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert term.stands()
        leader = store.leader("a")
        assert leader is not None
        assert leader.token == term.token
