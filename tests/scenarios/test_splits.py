"""One server of three is cut off from the others, and goes on talking to its clients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import FleetFactory, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet, Reign, await_true
from tests.scenarios.offices import kazoo_client
from tests.scenarios.places import TIMES
from tests.scenarios.test_followers import watching
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.wanted import found
from tests.servers.zookeeper_cluster import ZooKeeperCluster

_TTL = 3.0


@pytest.fixture
def patient_zookeepers(tmp_path: Path) -> Iterator[ZooKeeperCluster]:
    """Three ZooKeeper servers that wait 20 s before they notice that they hear of nobody."""
    cluster = ZooKeeperCluster(found("zookeeper"), tmp_path / "patient", settings={"syncLimit": 40})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.server
def test_a_zookeeper_that_answers_reads_although_it_is_cut_off(
    make_fleet: FleetFactory, patient_zookeepers: ZooKeeperCluster, measured: Report
) -> None:
    """Belief ends before the session can have expired at the others: reads prove nothing."""
    cluster = patient_zookeepers
    cut, near = cluster.followers()
    fleet = make_fleet(near.url_at(near.port, cluster.leader().port), ttl=_TTL)
    far = _start_far_and_near(fleet, cut.url)

    with kazoo_client(cut, timeout=10.0) as client:
        at = now()
        cluster.cut_off(cut)
        after = _assert_taken_over(fleet, far, at, measured)
        # It has not noticed anything: whoever leads, it says, is "far".
        assert cut.mode() == "follower"
        first = min(client.get_children(f"/{fleet.key}"), key=lambda name: name[-10:])
        assert client.get(f"/{fleet.key}/{first}")[0] == b"far"

    cluster.heal()
    far.worker.await_event("store_up", 20)
    after.worker.stop()
    assert fleet.await_reign(15, after=after).worker is far.worker
    fleet.finish()


def test_an_etcd_that_is_cut_off(
    make_fleet: FleetFactory, etcd_cluster: EtcdCluster, measured: Report
) -> None:
    """Its leader's belief ends in time, its followers hear of the trouble, and all heals."""
    cut, near = etcd_cluster.followers()
    fleet = make_fleet(near.url_at(near.port, etcd_cluster.leader().port), ttl=_TTL)
    far = _start_far_and_near(fleet, cut.url)
    with watching(cut.url, fleet.key) as watcher:
        watcher.await_line(("far", far.token), 5)

        at = now()
        etcd_cluster.cut_off(cut)
        after = _assert_taken_over(fleet, far, at, measured)
        await_true("store_down", lambda: "store_down" in watcher.events, 10)
        assert watcher.leaders()[-1] == ("far", far.token)  # with its age
        etcd_cluster.heal()

        watcher.await_line(("near", after.token), 15)
        far.worker.await_event("store_up", 15)
        after.worker.stop()
        assert fleet.await_reign(15, after=after).worker is far.worker
        fleet.finish()


def test_the_etcd_that_leads_the_others_is_cut_off(
    make_fleet: FleetFactory, etcd_cluster: EtcdCluster, measured: Report
) -> None:
    """It goes on thinking that it leads, and must not renew a lease that the others end."""
    cut = etcd_cluster.leader()
    one, two = etcd_cluster.followers()
    fleet = make_fleet(one.url_at(one.port, two.port), ttl=_TTL)
    far = _start_far_and_near(fleet, cut.url)

    at = now()
    etcd_cluster.cut_off(cut)
    # It renews leases until it notices, which takes two election timeouts at most. That is sound:
    # the others elect a new leader after one of them, who gives every lease its whole time again.
    after = _assert_taken_over(fleet, far, at, measured, unnoticed=1.0)
    etcd_cluster.heal()

    far.worker.await_event("store_up", 15)
    after.worker.stop()
    assert fleet.await_reign(15, after=after).worker is far.worker
    fleet.finish()


@pytest.mark.parametrize("role", ["leads them", pytest.param("follows", marks=pytest.mark.soak)])
def test_clients_leave_an_etcd_that_is_cut_off(
    make_fleet: FleetFactory, role: str, etcd_cluster: EtcdCluster
) -> None:
    """With all servers in the URL and a ttl of 10 s, leadership does not change."""
    leader, followers = etcd_cluster.leader(), etcd_cluster.followers()
    cut, *others = [leader, *followers] if role == "leads them" else [*followers, leader]
    fleet = make_fleet(cut.url_at(cut.port, *(node.port for node in others)), ttl=10.0)
    fleet.start_all("ann", "ben")
    reign = fleet.await_reign(10)

    etcd_cluster.cut_off(cut)
    time.sleep(10.0)

    after = fleet.await_reign(1)
    assert (after.worker, after.token) == (reign.worker, reign.token), fleet.told()
    etcd_cluster.heal()
    fleet.finish()


def _start_far_and_near(fleet: Fleet, far_url: str) -> Reign:
    fleet.start("far", url=far_url)
    reign = fleet.await_reign(15)
    fleet.start("near").await_event("campaigning", 15)
    time.sleep(0.5)
    return reign


def _assert_taken_over(
    fleet: Fleet, far: Reign, cut: int, measured: Report, unnoticed: float = 0.0
) -> Reign:
    after = fleet.await_reign(TIMES["etcd"].failover(_TTL) + 2 + 3 * unnoticed, after=far)
    belief = far.worker.diary.read().beliefs[-1]
    assert not belief.open
    measured("belief went on for", (belief.until - cut) / 1e9)
    measured("from the cut to the next leader", (after.since - cut) / 1e9)
    assert (belief.until - cut) / 1e9 < _TTL - 0.5 + 0.1 + unnoticed
    assert far.worker.await_event("lost", 1).reason == "expired"
    return after
