"""Several endpoints in one URL: failover to the next one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.errors import NotApplied, StoreUnavailable
from leadership_core.events import Lost
from leadership_etcd.store import EtcdStore
from tests.conftest import ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.support.servers.etcd import Etcd
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.ports import free_port
from tests.support.waiting import Seen, at_most, has_value, wait_until


def test_endpoint_that_is_down_is_skipped(
    shared_etcd: Etcd, opened: Opener, unique_key: str
) -> None:
    """This holds for all kinds of requests and watches, from the first one on."""
    store, seen = opened(shared_etcd.url_at(free_port(), free_port(), shared_etcd.port)), Seen()

    session = store.open_session(60)
    watch = store.watch(f"{unique_key}/data", seen)
    entry = store.put(f"{unique_key}/data", b"1")

    assert store.get(entry.key) == entry
    assert store.election(unique_key).enter(session, b"Frank").granted
    seen.wait(has_value(b"1"))
    watch.close()
    session.close()


def test_silent_endpoint_delays_only_one_call(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A read goes on after its share of the time, later calls go to the next one at once."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    session = store.open_session(60)
    assert store.get(unique_key) is None
    link.cut()

    with call_timeout(1.0):
        began = time.monotonic()
        assert store.get(unique_key) is None
        took = time.monotonic() - began
        assert session.renew() == 60
        assert time.monotonic() - began < took + at_most(0.2)

    assert 0.4 < took < at_most(0.9)
    session.close()


def test_write_is_repeated_at_next_endpoint_only_if_not_sent(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A write that may have been executed is an error; one to a closed port is repeated."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    store.put(unique_key, b"0")
    link.cut()
    with call_timeout(0.5), pytest.raises(StoreUnavailable) as caught:
        store.put(unique_key, b"1")
    assert not isinstance(caught.value, NotApplied)
    link.heal()
    link.reset()

    other = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    other.put(unique_key, b"2")
    link.refuse()
    time.sleep(0.2)  # so that the connection does not break under the request

    assert other.put(unique_key, b"3").value == b"3"


def test_unreachable_endpoints_are_all_named_in_message(opened: Opener) -> None:
    """Each has its reason, and there is no wait."""
    ports = [free_port(), free_port()]
    store = opened(f"etcd://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")
    began = time.monotonic()

    with pytest.raises(NotApplied) as caught:
        store.put("k", b"1")

    assert time.monotonic() - began < at_most(1)
    for port in ports:
        assert f"127.0.0.1:{port}: connection refused; is an etcd running there?" in str(
            caught.value
        )


def test_call_succeeds_as_soon_as_server_is_back(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """No backoff of a client library delays it."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    link.refuse()
    for _ in range(10):
        with pytest.raises(NotApplied):
            store.get(unique_key)

    link.listen()

    assert store.get(unique_key) is None


@pytest.mark.parametrize("how", ["stop", "kill", "pause"])
def test_leadership_survives_loss_of_endpoint_in_use(etcd_cluster: EtcdCluster, how: str) -> None:
    """The ttl is 10 s, and the endpoint stops, crashes or is paused."""
    used = etcd_cluster.leader()
    others = [node.port for node in etcd_cluster.followers()]
    with (
        open_store(used.url_at(used.port, *others)) as store,
        open_store(used.url_at(*others)) as near,
    ):
        candidate = Candidate(store, "election", "first", ttl=10)
        term = candidate.wait_elected(10)
        assert term is not None
        rival = Candidate(near, "election", "second", ttl=10)
        rival.run_for_election()
        if how == "stop":
            used.process.terminate(20)
        elif how == "kill":
            used.kill()
        else:
            used.pause()

        time.sleep(11)

        assert not term.lost
        assert not rival.is_leader
        leader = store.leader("election")
        assert leader is not None
        assert leader.token == term.token
        candidate.resign(cooldown=10)
        assert rival.wait_elected(5) is not None
    used.resume() if how == "pause" else None


def test_waiting_candidate_keeps_its_place_when_endpoint_is_lost(
    etcd_cluster: EtcdCluster,
) -> None:
    """Its endpoint crashes while it waits; when the leader resigns, it is elected."""
    follower = etcd_cluster.followers()[0]
    rest = [node for node in etcd_cluster.nodes if node is not follower]
    with (
        open_store(follower.url_at(follower.port, *(node.port for node in rest))) as store,
        open_store(rest[0].url_at(*(node.port for node in rest))) as near,
    ):
        leading = Candidate(near, "election", "first", ttl=10)
        assert leading.wait_elected(10) is not None
        waiting = Candidate(store, "election", "second", ttl=10)
        events = waiting.events()
        waiting.run_for_election()
        wait_until(lambda: len(rest[0].keys("election/")) == 2)
        place = rest[0].keys("election/")

        follower.kill()
        time.sleep(2)
        assert rest[0].keys("election/") == place
        leading.resign(cooldown=10)

        assert waiting.wait_elected(5) is not None
        waiting.stop()
        assert not any(isinstance(event, Lost) for event in events)


def test_threads_share_the_checks_of_an_endpoint_that_fails(
    proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """However many threads try again, the endpoint gets a few connections a second."""
    link = proxy(free_port())  # it accepts connections, and closes them
    store = opened(f"etcd://127.0.0.1:{link.port}")
    failures = _read_in_threads(store, unique_key, 1.0)

    assert link.connections < failures / 4


def test_threads_that_reconnect_share_a_connection(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """All of them lose their connection at the same moment."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    assert store.get(unique_key) is None
    before = link.connections

    link.reset()
    _read_in_threads(store, unique_key, 0.5)

    assert store.get(unique_key) is None
    assert link.connections - before <= 10


def _read_in_threads(store: EtcdStore, key: str, seconds: float) -> int:
    """Read in 40 threads for so long; returns how often that has failed."""
    until = time.monotonic() + seconds

    def read() -> int:
        failures = 0
        while time.monotonic() < until:
            try:
                with call_timeout(1.0):
                    store.get(key)
            except StoreUnavailable:
                failures += 1
                time.sleep(0.01)
        return failures

    with ThreadPoolExecutor(40) as threads:
        return sum(one.result() for one in [threads.submit(read) for _ in range(40)])
