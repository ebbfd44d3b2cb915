"""Garbage collection of stores that a program drops without closing them."""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from weakref import ReferenceType, ref

import pytest

from leadership_core import Candidate, Follower, Leader, Store, StoreUnavailable, open_store
from leadership_core.engine.open_store import OpenStore
from leadership_core.engine.store_base import internals
from tests.support.internals import product_threads
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import at_most, eventually

KINDS = ["memory", "sqlite", "consul", "etcd", "zookeeper"]
_SECONDS = 10.0


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, quick_folder: Path) -> str:
    """The URL of a new store of that kind."""
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{quick_folder}/a.db"
    name = "consul" if kind == "consul" else f"shared_{kind}"
    server: Consul | Etcd | ZooKeeper = request.getfixturevalue(name)
    return server.url


@pytest.fixture(autouse=True)
def quick_collection() -> Iterator[None]:
    """Collections look at the objects of this test only: with those of all tests one takes seconds."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def collected(condition: Callable[[], object]) -> bool:
    """Whether the condition becomes true while garbage is collected."""
    return eventually(lambda: gc.collect() >= 0 and condition(), _SECONDS)


def answer(request: Callable[[], object]) -> object:
    """Return the store's answer, or None if it does not answer in time on a busy machine."""
    with contextlib.suppress(StoreUnavailable):
        return request()
    return None


@pytest.fixture
def unclosed() -> Iterator[list[str]]:
    """The `ResourceWarning`s of stores that were not closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        found: list[str] = []
        yield found
        gc.collect()
        found += [str(one.message) for one in caught if "unclosed store" in str(one.message)]
        assert found, "no warning was issued for a store that was not closed"


@pytest.mark.parametrize("kind", KINDS)
def test_dropped_store_leaves_neither_threads_nor_descriptors(
    url: str, unique_key: str, unclosed: list[str]
) -> None:
    """Its elections, watches and locks have ended before; a `ResourceWarning` is issued."""
    before = product_threads()

    def use() -> None:
        store = open_store(url)
        store.put(unique_key, b"1")
        store.watch(unique_key, lambda _: None).close()
        candidate = Candidate(store, f"{unique_key}/led", "a", ttl=5)
        assert candidate.wait_elected(at_most(_SECONDS))
        assert candidate.stop()
        lock = store.lock(f"{unique_key}/locked", ttl=5)
        assert lock.acquire(at_most(_SECONDS))
        assert lock.release()
        follower = Follower(store, unique_key)
        follower.wait_leader(0)
        follower.stop()

    use()
    assert collected(lambda: product_threads() <= before), product_threads() - before
    open_before = descriptors()
    for _ in range(5):
        use()
    assert collected(lambda: product_threads() <= before), product_threads() - before
    assert collected(lambda: descriptors() <= open_before), (open_before, descriptors())


@pytest.mark.parametrize("kind", KINDS)
def test_running_candidate_keeps_its_store(url: str, unique_key: str) -> None:
    """The program keeps no reference to either; a leader and a waiting candidate go on."""
    if url.startswith("memory"):
        url = f"memory://{unique_key.replace('/', '-')}"

    def stand(value: str) -> ReferenceType[OpenStore]:
        store = open_store(url)
        Candidate(store, unique_key, value, ttl=5).run_for_election()
        return ref(internals(store))

    def leader(values: Iterable[str]) -> str:
        """Wait until one of these leads: on a busy machine a lease may end at any time."""
        found: list[str] = []

        def leads() -> bool:
            seen = answer(lambda: other.leader(unique_key))
            found[:] = [seen.value] if isinstance(seen, Leader) else []
            return found[:1] in [[value] for value in values]

        assert eventually(leads, _SECONDS), (values, found)
        return found[0]

    running: dict[str, ReferenceType[OpenStore]] = {}
    with open_store(url) as other, closed_in_the_end(running):
        for value in ("first", "second"):
            running[value] = stand(value)
            leader(running)
        for _ in range(3):
            gc.collect()
            time.sleep(0.1)
        kept = running.pop(leader(running))()
        assert kept is not None, "the store of the leader was collected"
        assert not kept.closing
        assert kept.close(at_most(_SECONDS))
        leader(running)  # the other candidate, which has run on, too


@contextlib.contextmanager
def closed_in_the_end(running: dict[str, ReferenceType[OpenStore]]) -> Iterator[None]:
    """Close the stores that are still there, so that they disturb no other test."""
    try:
        yield
    finally:
        for store in [found() for found in running.values()]:
            if store is not None:
                store.close(None)


def test_open_watch_keeps_its_store(unclosed: list[str]) -> None:
    """Its callback is called as long as the watch is open."""
    reported: list[object] = []
    watch = open_store("memory://watched").watch("key", reported.append)
    gc.collect()
    with open_store("memory://watched") as other:
        other.put("key", b"1")
    assert eventually(lambda: len(reported) == 2)
    watch.close()


def test_many_cycles_of_opening_leave_nothing(unclosed: list[str]) -> None:
    """Closed and dropped stores leave neither threads, nor descriptors, nor objects."""
    gc.collect()
    threads, opened = product_threads(), descriptors()
    stores = [_use_once(close=bool(number % 2)) for number in range(300)]
    assert collected(lambda: product_threads() <= threads), product_threads() - threads
    assert collected(lambda: descriptors() <= opened), (opened, descriptors())
    # One, because an exception or a frame that Python keeps may refer to the last.
    assert collected(lambda: sum(store() is not None for store in stores) <= 1)


def _use_once(*, close: bool) -> ReferenceType[Store]:
    store = open_store("memory://")
    candidate = Candidate(store, "key", "a", ttl=5)
    assert candidate.wait_elected(at_most(5))
    if close:
        store.close()
    else:
        candidate.stop()
    return ref(store)
