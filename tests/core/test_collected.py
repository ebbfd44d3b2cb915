"""Stores that a program drops without closing them."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadership_core import Candidate, Follower, StoreHandle, open_store
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

KINDS = ["memory", "sqlite", "consul", "etcd", "zookeeper"]
_SECONDS = 10.0


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, quick_folder: Path) -> str:
    """Where a store of that kind is."""
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{quick_folder}/a.db"
    name = "consul" if kind == "consul" else f"shared_{kind}"
    server: Consul | Etcd | ZooKeeper = request.getfixturevalue(name)
    return server.url


def our_threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("leadership-")}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(condition: Callable[[], object]) -> bool:
    until = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > until:
            return False
        gc.collect()
        time.sleep(0.02)
    return True


@pytest.fixture
def unclosed() -> Iterator[list[str]]:
    """The warnings of stores that were not closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        found: list[str] = []
        yield found
        gc.collect()
        found += [str(one.message) for one in caught if "unclosed store" in str(one.message)]
        assert found, "nothing was said of a store that was not closed"


@pytest.mark.parametrize("kind", KINDS)
def test_store_that_is_dropped_leaves_neither_threads_nor_descriptors(
    url: str, unique_key: str, unclosed: list[str]
) -> None:
    """After elections, watches and locks on it have ended; the program is warned."""
    before, open_before = our_threads(), 0

    def use() -> None:
        store = open_store(url)
        store.put(unique_key, b"1")
        store.watch(unique_key, lambda _: None).close()
        candidate = Candidate(store, f"{unique_key}/led", "a", ttl=5)
        assert candidate.wait_elected(10)
        assert candidate.stop()
        lock = store.lock(f"{unique_key}/locked", ttl=5)
        assert lock.acquire(10)
        assert lock.release()
        follower = Follower(store, unique_key)
        follower.wait_leader(0)
        follower.stop()

    use()
    assert eventually(lambda: our_threads() <= before), our_threads()
    open_before = descriptors()
    for _ in range(5):
        use()
    assert eventually(lambda: our_threads() <= before), our_threads()
    assert eventually(lambda: descriptors() <= open_before), (open_before, descriptors())


@pytest.mark.parametrize("kind", KINDS)
def test_running_candidate_keeps_its_store(url: str, unique_key: str, unclosed: list[str]) -> None:
    """Nobody refers to either of them, and it leads on; so does one that waits."""

    def stand(value: str) -> None:
        Candidate(open_store(url), unique_key, value, ttl=5).run_for_election()

    if url.startswith("memory"):
        url = f"memory://{unique_key.replace('/', '-')}"
    stand("first")
    with open_store(url) as other:
        assert eventually(lambda: other.leader(unique_key) is not None)
        stand("second")
        for _ in range(3):
            gc.collect()
            time.sleep(0.1)
        leader = other.leader(unique_key)
        assert leader is not None
        assert leader.value == "first"
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, StoreHandle) and one.url == url]
    running = [one for one in kept if not one._closed]
    assert len(running) == 2
    for one in running:
        one.close()
    open_store("memory://")  # so that something is warned of, as the fixture wants


def test_open_watch_keeps_its_store(unclosed: list[str]) -> None:
    """It calls back for as long as it is open."""
    told: list[object] = []
    watch = open_store("memory://watched").watch("key", told.append)
    gc.collect()
    with open_store("memory://watched") as other:
        other.put("key", b"1")
    assert len(told) == 2
    watch.close()


def test_many_cycles_of_opening_leave_nothing(unclosed: list[str]) -> None:
    """Closed or dropped; neither threads, nor descriptors, nor objects."""
    gc.collect()
    threads, opened = threading.active_count(), descriptors()
    for number in range(300):
        _use_once(close=bool(number % 2))
    assert eventually(lambda: threading.active_count() <= threads), threading.enumerate()
    assert descriptors() <= opened
    left = [one for one in gc.get_objects() if isinstance(one, StoreHandle)]
    assert len(left) <= 1


def _use_once(*, close: bool) -> None:
    store = open_store("memory://")
    candidate = Candidate(store, "key", "a", ttl=5)
    assert candidate.wait_elected(5)
    if close:
        store.close()
    else:
        candidate.stop()
