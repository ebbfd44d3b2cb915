"""Locks: stores that hang, are cut off or refuse, interrupts, and forks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from leadership_core import (
    ConfigurationError,
    NotElected,
    Store,
    StoreRefused,
    StoreUnavailable,
)
from tests.support.waiting import at_most, eventually
from tests.unit.faulty import Fault, FaultyStore

Open = Callable[[], Store]


def test_acquire_leaves_no_claim_after_its_timeout(faulty: FaultyStore, opened: Store) -> None:
    """The session is closed, and the next candidate gets the lock at once."""
    other = faulty.opened()
    with opened.lock("a", ttl=5) as first:
        assert other.lock("a", ttl=5).acquire(timeout=0.1) is None
        assert eventually(lambda: len(faulty.alive()) == 1)
        assert not first.lost

    assert faulty.inner.get("a") is None
    assert eventually(lambda: not faulty.alive())
    other.close()


def test_acquire_ends_in_time_on_a_hanging_store(faulty: FaultyStore, opened: Store) -> None:
    """A claim that may have been entered is removed in the background."""
    faulty.inject(Fault.REPLY_LOST, "put_claim")
    faulty.inject(Fault.REQUEST_LOST, "get", "delete")
    begun = time.monotonic()

    with pytest.raises(NotElected) as caught:
        opened.lock("a", ttl=3).acquire(timeout=0.5)

    assert isinstance(caught.value.__cause__, StoreUnavailable)
    assert time.monotonic() - begun < at_most(2.5)
    faulty.heal()
    assert eventually(lambda: faulty.inner.get("a") is None, 8)


@pytest.fixture
def _sigint() -> Iterator[None]:
    """SIGINT interrupts, also where the tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint")
def test_acquire_leaves_no_claim_after_an_interrupt(store: Store, open_one: Open) -> None:
    """Ctrl-C ends the wait at once, and the claim is withdrawn."""
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


def test_lost_lock_is_not_acquired_again_by_itself(faulty: FaultyStore, opened: Store) -> None:
    """The term is lost, `release` returns False, and the next acquisition has a new term."""
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


def test_lock_is_lost_in_an_outage_and_free_afterwards(faulty: FaultyStore, opened: Store) -> None:
    """The term ends before the lease expires, and the lock is free once the store is back."""
    lock = opened.lock("a", ttl=1.5)
    term = lock.acquire(timeout=5)
    assert term is not None
    begun = time.monotonic()

    faulty.inject(Fault.UNAVAILABLE)

    assert term.wait_lost(2)
    assert time.monotonic() - begun < at_most(1.5)
    faulty.heal()
    assert eventually(lambda: faulty.inner.get("a") is None)
    assert lock.release() is False


def test_acquire_raises_what_the_store_refuses(faulty: FaultyStore, opened: Store) -> None:
    """It does not wait, because a retry cannot cure a wrong configuration."""
    faulty.inject(Fault.REFUSED, "open_session")

    with pytest.raises(StoreRefused):
        opened.lock("a", ttl=5).acquire(timeout=5)
    with pytest.raises(ConfigurationError, match="timeout"):
        opened.lock("a", ttl=5).acquire(timeout=-1)


def test_forked_child_does_not_release_the_lock(store: Store) -> None:
    """The child leaves the block, and the parent goes on holding the lock."""
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
        assert not term.lost
        leader = store.leader("a")
        assert leader is not None
        assert leader.token == term.token
