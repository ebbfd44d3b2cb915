"""Several endpoints, one store: the next one answers when the first does not."""

from __future__ import annotations

import time

import pytest

from leadership_core import Candidate, open_store
from leadership_core.budget import budget
from leadership_core.errors import NotDone, StoreUnavailable
from leadership_core.events import Lost
from tests.conftest import ProxyFactory
from tests.etcd.conftest import Opener
from tests.etcd.tools import Seen, has_value, wait_until
from tests.servers.etcd import Etcd
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.ports import free_port
from tests.support.machine import at_most


def test_an_endpoint_that_is_down_is_passed_over(
    shared_etcd: Etcd, opened: Opener, unique_key: str
) -> None:
    """For reads, writes, sessions, elections and watches, from the first request on."""
    store, seen = opened(shared_etcd.url_at(free_port(), free_port(), shared_etcd.port)), Seen()

    session = store.open_session(60)
    watch = store.watch(f"{unique_key}/data", seen)
    entry = store.put(f"{unique_key}/data", b"1")

    assert store.get(entry.key) == entry
    assert store.election(unique_key).enter(session, b"Frank").granted
    seen.wait(has_value(b"1"))
    watch.close()
    session.close()


def test_a_silent_endpoint_costs_its_share_of_the_time_once(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A read goes on at the next endpoint, and what follows goes there at once."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    session = store.open_session(60)
    assert store.get(unique_key) is None
    link.cut()

    with budget(1.0):
        began = time.monotonic()
        assert store.get(unique_key) is None
        took = time.monotonic() - began
        assert session.renew() == 60
        assert time.monotonic() - began < took + 0.2

    assert 0.4 < took < at_most(0.9)
    session.close()


def test_a_write_goes_to_another_endpoint_only_if_it_was_not_sent(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """One that may have been done is an error; one to a closed port is done elsewhere."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    store.put(unique_key, b"0")
    link.cut()
    with budget(0.5), pytest.raises(StoreUnavailable) as caught:
        store.put(unique_key, b"1")
    assert not isinstance(caught.value, NotDone)
    link.heal()
    link.reset()

    other = opened(shared_etcd.url_at(link.port, shared_etcd.port))
    other.put(unique_key, b"2")
    link.refuse()
    time.sleep(0.2)  # a connection that breaks under the request is another matter

    assert other.put(unique_key, b"3").value == b"3"


def test_without_any_endpoint_the_message_names_them_all(opened: Opener) -> None:
    """With what is the matter with each, and in no time."""
    ports = [free_port(), free_port()]
    store = opened(f"etcd://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")
    began = time.monotonic()

    with pytest.raises(NotDone) as caught:
        store.put("k", b"1")

    assert time.monotonic() - began < at_most(1)
    for port in ports:
        assert f"127.0.0.1:{port}: connection refused; is an etcd running there?" in str(
            caught.value
        )


def test_it_works_as_soon_as_a_server_is_back(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """No backoff of a client library stands between the two."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    link.refuse()
    for _ in range(10):
        with pytest.raises(NotDone):
            store.get(unique_key)

    link.listen()

    assert store.get(unique_key) is None


@pytest.mark.parametrize("how", ["stop", "kill", "pause"])
def test_the_endpoint_in_use_goes_and_leadership_does_not_change(
    etcd_cluster: EtcdCluster, how: str
) -> None:
    """With a ttl of 10 s: whether it leaves, crashes, or goes silent."""
    used = etcd_cluster.leader()
    others = [node.port for node in etcd_cluster.followers()]
    with (
        open_store(used.url_at(used.port, *others)) as store,
        open_store(used.url_at(*others)) as near,
    ):
        candidate = Candidate(store, "race", "first", ttl=10)
        term = candidate.wait_elected(10)
        assert term is not None
        rival = Candidate(near, "race", "second", ttl=10)
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
        leader = store.leader("race")
        assert leader is not None
        assert leader.token == term.token
        candidate.resign(cooldown=10)
        assert rival.wait_elected(5) is not None
    used.resume() if how == "pause" else None


def test_a_candidate_that_waits_moves_on_with_its_place_in_the_queue(
    etcd_cluster: EtcdCluster,
) -> None:
    """Its endpoint goes while it waits; when the leader resigns, it is elected."""
    follower = etcd_cluster.followers()[0]
    rest = [node for node in etcd_cluster.nodes if node is not follower]
    with (
        open_store(follower.url_at(follower.port, *(node.port for node in rest))) as store,
        open_store(rest[0].url_at(*(node.port for node in rest))) as near,
    ):
        leading = Candidate(near, "race", "first", ttl=10)
        assert leading.wait_elected(10) is not None
        waiting = Candidate(store, "race", "second", ttl=10)
        events = waiting.events()
        waiting.run_for_election()
        wait_until(lambda: len(rest[0].keys("race/")) == 2)
        place = rest[0].keys("race/")

        follower.kill()
        time.sleep(2)
        assert rest[0].keys("race/") == place
        leading.resign(cooldown=10)

        assert waiting.wait_elected(5) is not None
        waiting.stop()
        assert not any(isinstance(event, Lost) for event in events)
