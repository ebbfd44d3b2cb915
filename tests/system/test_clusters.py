"""Faults of clusters: servers die, stop, or are cut off from each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from tests.support.admin_tools import kazoo_client
from tests.support.outages import await_serving, led_for
from tests.support.recording import now
from tests.support.servers.process import ServerError
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
_ETCD_RESUMED = 0.02
"""Seconds: a server that resumes may end leases its successor has renewed, see docs/guarantees.md."""


class Divisible(Cluster, Protocol):
    """A cluster whose nodes can be cut off from each other."""

    def cut_off(self, node: Any) -> None: ...
    def heal(self) -> None: ...


def _url(*nodes: Any) -> str:
    """The URL with the nodes in this order; a client begins with the first."""
    return str(nodes[0].url_at(*(node.port for node in nodes)))


def _one_on_each(testbed: Testbed, first: Any, *others: Any) -> LeaderTerm:
    """Let a candidate on the first node lead, and one on the next node wait."""
    testbed.candidate("first", url=_url(first, *others))
    leader = testbed.await_leader(15)
    testbed.candidate("second", url=_url(*others, first))
    testbed.candidate("third", url=_url(*reversed(others), first))
    return leader


# -- 17 -----------------------------------------------------------------------------------------


@scenario(17, on=SERVERS, quick=["etcd"], seconds=180)
def test_17_server_that_leads_killed(testbed: Testbed) -> None:
    """The servers elect another leader; afterwards the election has a leader."""
    cluster = testbed.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    _one_on_each(testbed, chief, *followers)

    with testbed.fault("SIGKILL of the server that leads"):
        chief.kill()
        await_serving(followers)
    testbed.await_leader()
    testbed.sleep(1)

    with testbed.fault("it starts again"):
        chief.start()
    testbed.finish()


@scenario(17, on=SERVERS, seconds=180)
def test_17_server_that_leads_stopped(testbed: Testbed) -> None:
    """Its connections stay open without answers until it resumes."""
    if testbed.kind == "etcd":
        testbed.gap = _ETCD_RESUMED
    cluster = testbed.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    _one_on_each(testbed, chief, *followers)

    with _stopped(testbed, chief):
        with testbed.fault("SIGSTOP of the server that leads"):
            wait_until(lambda: _leads_another(cluster, chief), 40, "another one leads")
            await_serving(followers)
        testbed.await_leader()
        testbed.sleep(2)
        testbed.await_leader()
    testbed.sleep(1)
    testbed.finish()


@scenario(17, on=SERVERS, quick=SERVERS, seconds=180)
def test_17_server_in_use_killed(testbed: Testbed) -> None:
    """With a ttl of 10 s, losing the server in use and then the one that leads ends no term."""
    _kill_servers(testbed, rounds=1)


@scenario(17, on=SERVERS, seconds=300)
def test_17_servers_killed_again_and_again(testbed: Testbed) -> None:
    """The same for five rounds, whichever server leads the others then."""
    _kill_servers(testbed, rounds=5)


def _kill_servers(testbed: Testbed, rounds: int) -> None:
    cluster = testbed.own_cluster()
    testbed.ttl = _LONG_TTL
    used, spare = cluster.followers()
    chief = cluster.leader()
    before = _one_on_each(testbed, used, spare, chief)

    for _ in range(rounds):
        with testbed.fault("SIGKILL of the server that the leader uses"):
            used.kill()
            time.sleep(0.5)
            used.start()
        _assert_undisturbed(testbed, before)

        chief = cluster.leader()
        with testbed.fault("SIGKILL of the server that leads the others"):
            chief.kill()
            time.sleep(0.5)
            wait_until(lambda: _leads_another(cluster), 15, "another server leads")
        _assert_undisturbed(testbed, before)
        chief.start()
        await_serving(cluster.nodes)

    before.worker.stop()
    testbed.await_leader(after=before)
    testbed.finish()


@scenario(17, on=SERVERS, quick=["zookeeper"], seconds=180)
def test_17_server_that_leads_stopped_with_a_long_lease(testbed: Testbed) -> None:
    """With a ttl of 10 s no term ends, unless the servers need longer to elect another leader.

    They may need longer on a busy machine; then the next term has a larger token.
    """
    if testbed.kind == "etcd":
        testbed.gap = _ETCD_RESUMED
    cluster = testbed.own_cluster()
    testbed.ttl = _LONG_TTL
    chief, followers = cluster.leader(), cluster.followers()
    leader = _one_on_each(testbed, chief, *followers)

    with _stopped(testbed, chief):
        paused = time.monotonic()
        with testbed.fault("SIGSTOP of the server that leads"):
            time.sleep(1.0)
            wait_until(lambda: _leads_another(cluster, chief), 30, "another server leads")
        if time.monotonic() - paused < _LONG_TTL * 0.5:  # as long as any lease lasts
            _assert_undisturbed(testbed, leader)
        else:
            leader = _assert_lost_by_the_lease(testbed, leader)
    _assert_undisturbed(testbed, leader, lost=leader.worker.count("lost"))

    leader.worker.stop()
    assert testbed.await_leader(after=leader).worker is not leader.worker
    testbed.finish()


def _assert_undisturbed(testbed: Testbed, before: LeaderTerm, lost: int = 0) -> None:
    """Check that the term continues, and has been renewed since the fault ended."""
    time.sleep(testbed.ttl / 3 + 1)
    after = testbed.await_leader(1)
    assert (after.worker, after.token) == (before.worker, before.token), testbed.fleet.describe()
    worker = after.worker
    wait_until(lambda: worker.count("suspended") == worker.count("resumed"), 3, "resumed")
    assert worker.count("lost") == lost


def _assert_lost_by_the_lease(testbed: Testbed, before: LeaderTerm) -> LeaderTerm:
    """Check that the term continues or its lease has ended; return the present term."""
    time.sleep(testbed.ttl / 3 + 1)
    after = testbed.await_leader(30)
    if after.token != before.token:
        assert after.token > before.token, testbed.fleet.describe()
        assert before.worker.count("lost") == 1, testbed.fleet.describe()
    return after


@scenario(17, on=SERVERS, seconds=180)
def test_17_majority_killed(testbed: Testbed) -> None:
    """No candidate leads for longer than a lease; with a majority again there is a leader."""
    cluster = testbed.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    before = _one_on_each(testbed, followers[0], chief, followers[1])

    with testbed.fault("SIGKILL of two servers of three, for three ttl"):
        away = now()
        chief.kill()
        followers[1].kill()
        testbed.sleep(3)
        assert led_for(before, away) < testbed.ttl - _MARGIN + _LATE
        assert testbed.fleet.leader() is None
        chief.start(wait=False)
        followers[1].start(wait=False)
        await_serving(cluster.nodes)

    assert testbed.await_leader().token > before.token
    testbed.finish()


@scenario(17, on=SERVERS, seconds=240)
def test_17_rolling_restart(testbed: Testbed) -> None:
    """One server after the other, the one that leads last; each time there is a leader afterwards."""
    cluster = testbed.own_cluster()
    nodes = [*cluster.followers(), cluster.leader()]
    _one_on_each(testbed, *nodes)

    for number, node in enumerate(nodes, 1):
        with testbed.fault(f"restart of server {number} of 3"):
            node.stop()
            node.start(wait=False)
            await_serving(nodes)
        testbed.await_leader()
    testbed.finish()


def _leads_another(cluster: Cluster, than: Any = None) -> bool:
    """Whether another server leads the cluster."""
    try:
        return cluster.leader() not in {None, than}
    except ServerError:
        return False


@contextmanager
def _stopped(testbed: Testbed, server: Any) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()
        testbed.mark("SIGCONT")


# -- 18 -----------------------------------------------------------------------------------------


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
    testbed.candidate("near", url=_url(near, chief))
    before = testbed.await_leader(15)
    far = testbed.candidate("far", url=_url(cut))
    testbed.candidate("next", url=_url(chief, near))
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
    testbed.fleet.url = _url(cut, *others)
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
    far = testbed.candidate("far", url=_url(cut))
    before = testbed.await_leader(15)
    testbed.candidate("near", url=_url(*others))
    with ExitStack() as stack:
        client = stack.enter_context(kazoo_client(cut, timeout=10.0)) if unaware else None
        watcher = stack.enter_context(watching(_url(cut), testbed.key))
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
