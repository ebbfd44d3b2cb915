"""Replicas, Sentinel and cluster: which server executes the requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadership_core import Store, StoreRefused, StoreUnavailable, open_store
from leadership_core.backend import NotApplied, call_timeout
from tests.conftest import ProxyFactory, RedisFactory
from tests.integration.redis.tools import KEY, contest, follows, freeze, thaw
from tests.support.servers.redis import RedisServer, Sentinel
from tests.support.servers.requirements import found
from tests.support.waiting import at_most, wait_until


@pytest.fixture
def pair(redis_server: RedisFactory) -> tuple[RedisServer, RedisServer]:
    """A primary and its replica."""
    primary, replica = redis_server(), redis_server()
    follows(replica, primary)
    return primary, replica


@pytest.fixture
def sentinel(pair: tuple[RedisServer, RedisServer], tmp_path: Path) -> Iterator[Sentinel]:
    """A Sentinel that watches the primary."""
    own = Sentinel(found("redis"), tmp_path / "sentinel", pair[0])
    try:
        own.start()
        yield own
    finally:
        own.kill()


def test_replica_is_passed_over(pair: tuple[RedisServer, RedisServer]) -> None:
    """Of several hosts the primary is found, and a replica alone is refused, for reads, too."""
    primary, replica = pair

    with open_store(primary.url_at(replica.port, primary.port)) as store:
        entry = store.put("a", b"1")
        assert store.get("a") == entry
    with open_store(replica.url) as store, pytest.raises(NotApplied, match="is a replica"):
        store.get("a")


def test_promoted_replica_is_found(pair: tuple[RedisServer, RedisServer]) -> None:
    """The leader keeps its term if an operator promotes the replica within the ttl."""
    primary, replica = pair
    url = primary.url_at(primary.port, replica.port)
    with contest(url, url, ttl=8) as run:
        first = run.await_leader(at_most(10))
        time.sleep(1)  # the replica has all of it then
        primary.kill()
        replica.ask("REPLICAOF NO ONE")
        time.sleep(4)
        assert not first.lost
        assert int(replica.info("connected_clients")) > 2


def test_sentinel_failover_elects_again(
    pair: tuple[RedisServer, RedisServer], sentinel: Sentinel
) -> None:
    """The primary is killed, Sentinel promotes the replica, and the tokens grow."""
    primary, replica = pair
    with contest(sentinel.url, sentinel.url, ttl=6) as run:
        first = run.await_leader(at_most(10))
        time.sleep(1)  # the replica has all of it then
        primary.kill()
        wait_until(lambda: sentinel.primary_port() == replica.port, 20, "the failover")
        leader = run.leader()
        term = run.await_leader(at_most(10))
        assert term.token >= first.token
        if leader is not None:
            assert run.candidates[leader].resign(cooldown=60)
            assert run.await_leader(at_most(10), other_than=leader).token > first.token


def test_frozen_primary_that_goes_on_is_not_used_any_more(
    pair: tuple[RedisServer, RedisServer], sentinel: Sentinel
) -> None:
    """It takes itself for the primary until Sentinel demotes it, while the clients use the other one.

    It goes on once each client has asked Sentinel, which it does after a second at the latest:
    before that, a candidate could be elected there.
    """
    primary, replica = pair
    with contest(sentinel.url, sentinel.url, sentinel.url, ttl=3) as run:
        first = run.await_leader(at_most(10))
        freeze(primary, replica)
        wait_until(lambda: sentinel.primary_port() == replica.port, 20, "the failover")
        second = run.await_leader(at_most(15))
        wait_until(
            lambda: {_token_at(store) for store in run.stores} == {second.token},
            15,
            "each store uses the new primary",
        )
        thaw(primary)
        assert primary.info("role") == "master"
        wait_until(lambda: primary.info("role") == "slave", 30, "Sentinel demotes it")
        assert second.token >= first.token
        wait_until(lambda: run.leader() is not None, 10, "a leader")


def test_unknown_service_is_refused(sentinel: Sentinel) -> None:
    """The message names the option."""
    url = sentinel.url.replace("service=main", "service=mian")
    with open_store(url) as store, pytest.raises(StoreRefused, match="'mian': check service="):
        store.get("a")


def test_unconfirmed_write_has_an_unknown_outcome(
    pair: tuple[RedisServer, RedisServer], redis_server: RedisFactory
) -> None:
    """With wait=1, no answer counts without the replica: neither a write nor a read."""
    primary, replica = pair
    with open_store(f"{primary.url}?wait=1") as store:
        entry = store.put("a", b"1")
        assert store.get("a") == entry
        session = store.open_session(10)
        assert session.renew() == 10
        replica.pause()
        calls: list[Callable[[], object]] = [
            lambda: store.put("a", b"2"),
            lambda: store.get("a"),
            session.renew,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="of the 1 replicas of wait=1") as caught:
                _within(1.0, call)
            assert not isinstance(caught.value, NotApplied)
        replica.resume()
        wait_until(lambda: _works(lambda: store.get("a")), 10, "the replica confirms again")


def test_primary_without_its_replicas_executes_nothing(redis_server: RedisFactory) -> None:
    """With min-replicas-to-write, an isolated primary answers no reads either."""
    server = redis_server(settings={"min-replicas-to-write": 1})
    with open_store(server.url) as store:
        calls: list[Callable[[], object]] = [
            lambda: store.get("a"),
            lambda: store.put("a", b"1"),
        ]
        for call in calls:
            with pytest.raises(NotApplied, match="min-replicas-to-write"):
                call()


@pytest.mark.parametrize("release", ["redis", "valkey"])
def test_cluster_names_the_node_with_the_keys(release: str, redis_server: RedisFactory) -> None:
    """Any node may be in the URL; the slot of the tag decides, and may move."""
    settings: dict[str, object] = {"cluster-enabled": "yes", "cluster-node-timeout": 2000}
    one, two = (redis_server(release=release, settings=settings) for _ in range(2))
    with open_store(one.url) as store, pytest.raises(NotApplied, match="does not serve this slot"):
        store.get("a")
    one.ask("CLUSTER ADDSLOTSRANGE 0 16383")
    one.ask(f"CLUSTER MEET {two.host} {two.port}")
    wait_until(lambda: "cluster_state:ok" in two.ask("CLUSTER INFO"), 20, "the cluster")

    with contest(two.url, one.url) as run:
        first = run.await_leader(at_most(10))
        time.sleep(2)
        assert not first.lost
        leader = run.leader()
        assert leader is not None
        assert run.candidates[leader].resign(cooldown=60)
        assert run.await_leader(at_most(10), other_than=leader).token > first.token


def test_primary_behind_a_black_hole_costs_the_leader_its_term(
    redis_server: RedisFactory, proxy: ProxyFactory
) -> None:
    """Its connections stay open without a byte; the other candidate is elected by observation."""
    server = redis_server()
    link = proxy(server.port)
    with contest(server.url_at(link.port), server.url) as run:
        wait_until(lambda: run.candidates["c0"].is_leader or run.leader(), 10, "a leader")
        if run.leader() == "c1":
            assert run.candidates["c1"].resign(cooldown=5)
            wait_until(lambda: run.candidates["c0"].is_leader, 10, "the first one leads")
        first = run.candidates["c0"].term
        assert first is not None
        link.cut()
        assert first.wait_lost(at_most(3))
        second = run.await_leader(at_most(15), other_than="c0")
        assert second.token > first.token
        link.heal()


def _token_at(store: Store) -> int | None:
    """The token of the leader that the store reads; None without an answer."""
    try:
        leader = store.leader(KEY)
    except StoreUnavailable:
        return None
    return None if leader is None else leader.token


def _within(seconds: float, call: Callable[[], object]) -> object:
    with call_timeout(seconds):
        return call()


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except StoreUnavailable:
        return False
    return True
