"""Faults of clusters: servers die or stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.outages import await_serving, led_for, url_of
from tests.support.recording import now
from tests.support.servers.process import ServerError
from tests.support.testbed import Cluster, Testbed
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm
from tests.system.catalogue import SERVERS, scenario

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the polls of a process may be apart on a busy machine
_LONG_TTL = 10.0  # seconds; Consul's servers may need 5 s to elect a leader
_ETCD_RESUMED = 0.02
"""Seconds: a server that resumes may end leases its successor has renewed, see docs/guarantees.md."""


def _one_on_each(testbed: Testbed, first: Any, *others: Any) -> LeaderTerm:
    """Let a candidate on the first node lead, and one on the next node wait."""
    testbed.candidate("first", url=url_of(first, *others))
    leader = testbed.await_leader(15)
    testbed.candidate("second", url=url_of(*others, first))
    testbed.candidate("third", url=url_of(*reversed(others), first))
    return leader


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
