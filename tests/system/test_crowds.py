"""Many candidates at once, and candidates that are replaced all the time."""

from __future__ import annotations

import time

import pytest

from tests.support.servers.proxy import Proxy
from tests.support.testbed import Testbed
from tests.support.workers import Worker
from tests.system.catalogue import SERVERS_WITH_SESSIONS, WITH_SESSIONS, scenario

pytestmark = pytest.mark.slow

_PROCESSES = 4
_IN_EACH = 55
_A_SECOND = 5  # requests of one candidate, at most


@scenario(26, on=WITH_SESSIONS)
def test_26_rolling_restart(testbed: Testbed) -> None:
    """Ten candidates are replaced, one after the other, and there is always a leader."""
    fleet = [testbed.candidate(f"old-{number}") for number in range(10)]
    leader = testbed.await_leader()
    for number, old in enumerate(fleet):
        testbed.mark(f"{old.who} is replaced")
        old.stop()
        assert old.process.wait(testbed.ttl + 5) == 0, old.describe()
        testbed.candidate(f"new-{number}")
        leader = testbed.await_leader(2)
    assert leader.worker not in fleet
    testbed.finish()


@scenario(26, on=WITH_SESSIONS, quick=["sqlite"])
def test_26_forty_at_once(testbed: Testbed) -> None:
    """One of them leads, and when half of them die with it, another one."""
    _start_crowds(testbed, processes=2, each=20)
    _kill_the_leading_process(testbed)


@scenario(26, on=WITH_SESSIONS)
def test_26_two_hundred_at_once(testbed: Testbed) -> None:
    """One of them leads, and when a quarter of them dies with it, another one."""
    _make_room(testbed)
    _start_crowds(testbed)
    _kill_the_leading_process(testbed)


def _kill_the_leading_process(testbed: Testbed) -> None:
    leader = testbed.await_leader(30)
    testbed.mark("SIGKILL the leader's process")
    leader.worker.process.kill()
    newer = testbed.await_leader(after=leader)
    assert newer.worker.process is not leader.worker.process
    testbed.finish()


@scenario(26, on=SERVERS_WITH_SESSIONS)
def test_26_two_hundred_reconnect_at_once(testbed: Testbed) -> None:
    """After an outage of their common link there is no storm of requests, and soon a leader."""
    _make_room(testbed)
    link = testbed.link()
    crowds = _start_crowds(testbed, link)
    count = _PROCESSES * _IN_EACH
    leader = testbed.await_leader(30)
    time.sleep(2.0)
    quiet = link.most_within(1.0, since=time.monotonic() - 1.0)

    with testbed.fault("the store refuses all connections"):
        link.refuse()
        testbed.sleep(testbed.times.leases)
        link.listen()
        back_at = time.monotonic()
    testbed.await_leader(after=leader)
    time.sleep(5.0)

    asked = link.most_within(1.0, since=back_at)
    assert asked <= quiet + _A_SECOND * count, f"{asked} in a second, {quiet} before"
    assert link.connections < 50 * count, "connections one after the other"
    assert all(worker.process.alive for many in crowds for worker in many)
    testbed.finish()


def _make_room(testbed: Testbed) -> None:
    """Use times that two hundred sessions on one small machine can keep."""
    match testbed.kind:
        case "zookeeper":
            testbed.own_server(tick=2.0)  # it has more to do the shorter its ticks are
        case "consul":  # they all come from one address, which is granted 200 connections
            testbed.own_server(config={"limits": {"http_max_conns_per_client": 10_000}})
    testbed.ttl = 8.0 if testbed.kind != "consul" else 5.0


def _start_crowds(
    testbed: Testbed, *links: Proxy, processes: int = _PROCESSES, each: int = _IN_EACH
) -> list[list[Worker]]:
    crowds = [testbed.start_many(f"many-{number}", each, *links) for number in range(processes)]
    with testbed.fault("all of them come at once"):
        for many in crowds:
            many[0].trigger()
    return crowds
