"""Faults of clusters: a server is cut off from the others."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from tests.support.admin_tools import kazoo_client
from tests.support.outages import await_serving, led_for, url_of
from tests.support.recording import now
from tests.support.servers.requirements import found
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.testbed import Cluster, Testbed
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm
from tests.system.catalogue import SERVERS, scenario
from tests.system.test_followers import Watching, watching

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the polls of a process may be apart on a busy machine
_LONG_TTL = 10.0  # seconds; Consul's servers may need 5 s to elect a leader


class Divisible(Cluster, Protocol):
    """A cluster whose nodes can be cut off from each other."""

    def cut_off(self, node: Any) -> None: ...
    def heal(self) -> None: ...


@scenario(18, on=SERVERS, quick=["etcd"], seconds=180)
def test_18_server_of_the_leader_cut_off(testbed: Testbed) -> None:
    """A leader that only reaches the isolated follower stops in time; a follower there sees no change."""
    cluster = _divisible(testbed)
    cut, near = cluster.followers()
    _cut_off(testbed, cluster, cut, (near, cluster.leader()))


@scenario(18, on=SERVERS, quick=["etcd"], seconds=180)
def test_18_server_that_leads_cut_off(testbed: Testbed) -> None:
    """The isolated leader of the servers must not renew sessions that the others end."""
    cluster = _divisible(testbed)
    cut = cluster.leader()
    near, other = cluster.followers()
    # Until it notices, it renews. That is sound: the others notice as late, elect a new leader
    # only then, and that one gives every session its whole time again.
    unnoticed = {"consul": 1.0, "etcd": 1.0, "zookeeper": 3.0}[testbed.kind]
    _cut_off(testbed, cluster, cut, (near, other), unnoticed=unnoticed)


@scenario(18, on=SERVERS, quick=["consul"], seconds=180)
def test_18_server_of_waiting_candidates_cut_off(testbed: Testbed) -> None:
    """A candidate that waits there is not notified of its turn, and does not lead by old data."""
    cluster = _divisible(testbed)
    cut, near = cluster.followers()
    chief = cluster.leader()
    testbed.candidate("near", url=url_of(near, chief))
    before = testbed.await_leader(15)
    far = testbed.candidate("far", url=url_of(cut))
    testbed.candidate("next", url=url_of(chief, near))
    testbed.sleep(0.5)  # so that both wait for their turn

    with testbed.fault("the server of a waiting candidate is cut off"):
        cluster.cut_off(cut)
        before.worker.stop()
        after = testbed.await_leader(testbed.recovery + 5, after=before)
        assert after.worker is not far
        testbed.sleep(2)
        assert far.interval() is None
        cluster.heal()
        await_serving(cluster.nodes)

    after.worker.stop()
    assert testbed.await_leader(testbed.recovery + 10, after=after).worker is far
    testbed.finish()


@pytest.mark.parametrize("role", ["leads", pytest.param("follows", marks=pytest.mark.soak)])
@scenario(18, on=["etcd"], quick=["etcd"], seconds=180)
def test_18_clients_leave_a_server_that_is_cut_off(testbed: Testbed, role: str) -> None:
    """With all servers in the URL and a ttl of 10 s, no term ends."""
    cluster = _divisible(testbed)
    testbed.ttl = _LONG_TTL
    nodes = [cluster.leader(), *cluster.followers()]
    cut, *others = nodes if role == "leads" else reversed(nodes)
    testbed.fleet.url = url_of(cut, *others)
    testbed.fleet.start_all("ann", "ben")
    leader = testbed.await_leader()

    with testbed.fault(f"the server that {role} is cut off"):
        cluster.cut_off(cut)
        time.sleep(10.0)
        after = testbed.await_leader(1)
        assert (after.worker, after.token) == (leader.worker, leader.token)
        cluster.heal()
    testbed.finish()


@scenario(18, on=["zookeeper"], quick=["zookeeper"], seconds=180)
def test_18_server_that_goes_on_answering_reads(testbed: Testbed, tmp_path: Path) -> None:
    """A ZooKeeper follower that has not noticed its isolation: its answers are old and prove nothing."""
    patient = ZooKeeperCluster(found("zookeeper"), tmp_path / "patient", settings={"syncLimit": 40})
    testbed.undo(patient.remove)
    patient.start()
    cluster = testbed.own_cluster(patient)
    cut, near = cluster.followers()
    _cut_off(testbed, patient, cut, (near, cluster.leader()), unaware=True)


def _divisible(testbed: Testbed) -> Divisible:
    cluster = testbed.own_cluster()
    testbed.ttl = 3.0
    return cast(Divisible, cluster)


def _cut_off(
    testbed: Testbed,
    cluster: Divisible,
    cut: Any,
    others: tuple[Any, Any],
    *,
    unnoticed: float = 0.0,
    unaware: bool = False,
) -> None:
    """Cut off the server that the leader uses, until another candidate leads.

    Args:
        testbed: of the election.
        cluster: the servers.
        cut: the one that is cut off.
        others: the rest.
        unnoticed: seconds for which it renews leases until it notices.
        unaware: a ZooKeeper that does not notice, and answers reads.
    """
    far = testbed.candidate("far", url=url_of(cut))
    before = testbed.await_leader(15)
    testbed.candidate("near", url=url_of(*others))
    with ExitStack() as stack:
        client = stack.enter_context(kazoo_client(cut, timeout=10.0)) if unaware else None
        watcher = stack.enter_context(watching(url_of(cut), testbed.key))
        watcher.await_line(("far", before.token), 5)

        with testbed.fault("the server of the leader is cut off"):
            since = now()
            cluster.cut_off(cut)
            # The others may take some time to agree on who leads them, and to end the lease.
            after = testbed.await_leader(testbed.recovery + 5, after=before)
            assert led_for(before, since) < testbed.ttl - _MARGIN + _LATE + unnoticed
            assert far.await_event("lost", 1).reason == "expired"
            if client is not None:
                assert cut.mode() == "follower"
                claims = client.get_children(f"/{testbed.key}")
                first = min(claims, key=lambda name: name[-10:])
                assert client.get(f"/{testbed.key}/{first}")[0] == b"far"
            if cut.serves():
                # Its clients see no change until they confirm what they know.
                assert watcher.leaders()[-1] == ("far", before.token)
            else:
                _assert_stale(watcher, before)
            testbed.sleep(1)
            cluster.heal()
            await_serving(cluster.nodes)

        wait_until(
            lambda: _reports_leader(watcher, testbed),
            testbed.recovery,
            "the follower is up to date",
        )
        far.await_event("store_up", testbed.recovery)
        after = testbed.await_leader()
        if after.worker is not far:
            after.worker.stop()
            assert testbed.await_leader(testbed.recovery + 5, after=after).worker is far
        testbed.finish()


def _reports_leader(watcher: Watching, testbed: Testbed) -> bool:
    """Whether a follower reports a leader, which may be a new one since the servers have healed."""
    leader = testbed.fleet.leader()
    lines = watcher.leaders()
    return leader is not None and lines[-1] == (leader.worker.who.partition("-")[2], leader.token)


def _assert_stale(watcher: Watching, before: LeaderTerm) -> None:
    """Check that an isolated follower reports its outage, and its last leader with an age."""
    wait_until(lambda: "store_down" in watcher.events, 15, "store_down")
    assert watcher.leaders()[-1] == ("far", before.token)
    leader = watcher.follower.leader
    assert leader is not None
    assert leader.age > 1.0
