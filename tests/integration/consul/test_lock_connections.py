"""Waiting for held locks: the connections and long polls that it takes."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress

from leadership_core import Lock, NotElected, Store, Term, open_store
from tests.conftest import ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import open_links, watch_threads
from tests.support.servers.consul import Consul


def test_repeated_acquire_of_held_lock_shares_one_long_poll(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A poll outlives its subscription, because an agent does not notice that one was aborted."""
    link = proxy(consul.port)
    with open_store(consul.url) as holder, open_store(consul.url_at(link.port)) as store:
        held = holder.lock(unique_key, ttl=15)
        assert held.acquire(5)
        for _ in range(6):
            _try_held_lock(store.lock(unique_key, ttl=15), 0.3)
        assert link.count("index=") <= 2, "long polls"
        assert len(watch_threads()) == 2, "one of each store"
        held.release()
        taken = store.lock(unique_key, ttl=15)
        assert taken.acquire(5), "the lock is free, and the shared poll does not report it"
        taken.release()


def test_fifty_workers_use_few_connections(
    consul: Consul, proxy: ProxyFactory, unique_key: str
) -> None:
    """An agent permits 200 from one address; fifty threads or stores use far fewer."""
    link = proxy(consul.port)
    with open_store(consul.url) as holder, ExitStack() as stack:
        held = holder.lock(unique_key, ttl=15)
        assert held.acquire(5)
        url = consul.url_at(link.port)
        shared = stack.enter_context(open_store(url))
        assert _most_connections(link, [shared] * 50, unique_key, rounds=2) <= 80
        link.reset()
        programs = [stack.enter_context(open_store(url)) for _ in range(50)]
        assert _most_connections(link, programs, unique_key, rounds=2) <= 180


def _try_held_lock(lock: Lock, seconds: float) -> None:
    """Try to take a held lock; many attempts at once may wait for the rate limit."""
    with suppress(NotElected):
        assert lock.acquire(seconds) is None


def _most_connections(link: object, stores: list[Store], key: str, rounds: int) -> int:
    """The most connections at a time while a thread for each store tries to take the lock.

    Each thread tries until it was refused so many times, for twenty seconds at most: on a busy
    machine fifty of them may get no answer within the time of one attempt.
    """
    most, over = [0], threading.Event()
    refused: list[Term | None] = []
    until = time.monotonic() + 20

    def count() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], open_links(link))

    def work(store: Store) -> None:
        lock, left = store.lock(key, ttl=15), rounds
        while left and time.monotonic() < until:
            with suppress(NotElected):
                refused.append(lock.acquire(0.5))
                left -= 1

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    counter = threading.Thread(target=count)
    for thread in (counter, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    counter.join()
    assert set(refused) == {None}, "no attempt was refused because the lock is held"
    return most[0]
