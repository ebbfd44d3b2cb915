"""Remains of elections of many keys: in the process, and at the servers."""

from __future__ import annotations

import gc
import time
from collections import Counter

import pytest
from kazoo.exceptions import NoNodeError

from leadership_core import Candidate, Follower, Store, open_store
from leadership_core.engine.store_base import internals
from tests.support.admin_tools import kazoo_client
from tests.support.backends import TargetStore
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import eventually

_KEYS = 30


def _use(store: Store, folder: str, ttl: float) -> None:
    """Acquire a lock for each job, read its holder, and campaign in an election."""
    for number in range(_KEYS):
        key = f"{folder}/{number}"
        lock = store.lock(key, "holder", ttl=ttl)
        assert lock.acquire(15) is not None
        assert str(store.leader(key)) == "holder"
        assert lock.release()
    follower, candidate = Follower(store, f"{folder}/c"), Candidate(store, f"{folder}/c", "me")
    assert candidate.wait_elected(15) is not None
    assert follower.wait_leader(15) is not None
    assert candidate.stop()
    follower.stop()


def _objects() -> Counter[str]:
    gc.collect()
    return Counter(
        kind.__qualname__
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith("leadership_")
    )


@pytest.mark.parametrize("kind", ["memory", "sqlite", "consul", "etcd", "zookeeper"])
def test_unused_keys_take_no_memory(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Thirty more locks need no more objects than the thirty before."""
    if kind == "memory":
        url, ttl = f"memory://{unique_key}", 15.0
    else:
        target: TargetStore = request.getfixturevalue(f"on_{kind}")
        url, ttl = target.url, 15.0
    with open_store(url) as store:
        _use(store, f"{unique_key}/a", ttl)

        def grown() -> Counter[str]:
            # Some timers that were cancelled stay, 64 at most; test_scheduler.py checks those.
            return _objects() - before - Counter(Timer=64)

        time.sleep(2)  # what is cleaned up later has been by then
        before = _objects()
        _use(store, f"{unique_key}/b", ttl)

        assert eventually(lambda: max(grown().values(), default=0) < _KEYS / 3, 10), grown()
        assert len(internals(store).engine._elections) < _KEYS / 3


def test_nothing_is_left_at_consul(consul: Consul, unique_key: str) -> None:
    """Checked a moment after the last use, and after closing the store at once."""
    with open_store(consul.url) as store:
        _use(store, unique_key, 15.0)
        assert eventually(lambda: not store.list(unique_key), 10)
        _use(store, unique_key, 15.0)
    with open_store(consul.url) as store:
        assert store.list(unique_key) == []


def test_nothing_is_left_at_etcd(shared_etcd: Etcd, unique_key: str) -> None:
    """Checked a moment after the last use, and after closing the store at once."""
    with open_store(shared_etcd.url) as store:
        _use(store, unique_key, 15.0)
        assert store.list(unique_key) == []


def test_nothing_is_left_at_zookeeper(shared_zookeeper: ZooKeeper, unique_key: str) -> None:
    """No node of an election, a moment after its last use or after closing the store."""
    with kazoo_client(shared_zookeeper) as client:
        for wait in (10, 0):
            with open_store(shared_zookeeper.url) as store:
                _use(store, unique_key, 15.0)
                assert eventually(lambda: not _nodes(client, unique_key), wait) or not wait
            assert _nodes(client, unique_key) == []


def _nodes(client: object, key: str) -> list[str]:
    try:
        return list(client.get_children(f"/{key}"))  # type: ignore[attr-defined]
    except NoNodeError:
        return []


def test_lock_taken_over_is_not_cleaned_up(consul: Consul, unique_key: str) -> None:
    """Another candidate holds it, with a larger token, when the first one cleans up."""
    with open_store(consul.url) as store, open_store(consul.url) as other:
        lock = store.lock(unique_key, ttl=15)
        first = lock.acquire(15)
        assert first is not None
        waiting = Candidate(other, unique_key, "next")
        waiting.run_for_election()
        assert lock.release()
        second = waiting.wait_elected(15)
        assert second is not None
        assert not second.wait_lost(2)
        assert second.token > first.token
        assert store.exists(unique_key)
