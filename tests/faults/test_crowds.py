"""Many candidates, and candidates that come and go without end."""

from __future__ import annotations

import time

import pytest

from tests.faults.catalogue import ALL, SERVERS, scenario
from tests.faults.stand import Stand
from tests.scenarios.fleet import Worker
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.slow

_PROCESSES = 4
_IN_EACH = 55
_A_SECOND = 5  # requests of one candidate, at most


@scenario(26, on=ALL)
def test_26_rolling_restart(stand: Stand) -> None:
    """Ten candidates are replaced, one after the other: somebody leads all the while."""
    fleet = [stand.candidate(f"old-{number}") for number in range(10)]
    reign = stand.leader()
    for number, old in enumerate(fleet):
        stand.mark(f"{old.who} is replaced")
        old.stop()
        assert old.process.wait(stand.ttl + 5) == 0, old.told()
        stand.candidate(f"new-{number}")
        reign = stand.leader(2)
    assert reign.worker not in fleet
    stand.finish()


@scenario(26, on=ALL, quick=["sqlite"])
def test_26_forty_at_once(stand: Stand) -> None:
    """One of them leads, and when half of them die with it, another one."""
    _start_crowds(stand, processes=2, each=20)
    _kill_the_leading_process(stand)


@scenario(26, on=ALL)
def test_26_two_hundred_at_once(stand: Stand) -> None:
    """One of them leads, and when a quarter of them dies with it, another one."""
    _make_room(stand)
    _start_crowds(stand)
    _kill_the_leading_process(stand)


def _kill_the_leading_process(stand: Stand) -> None:
    reign = stand.leader(30)
    stand.mark("SIGKILL the leader's process")
    reign.worker.process.kill()
    newer = stand.leader(after=reign)
    assert newer.worker.process is not reign.worker.process
    stand.finish()


@scenario(26, on=SERVERS)
def test_26_two_hundred_reconnect_at_once(stand: Stand) -> None:
    """After an outage of the link that all share: no storm, and soon somebody leads."""
    _make_room(stand)
    link = stand.link()
    crowds = _start_crowds(stand, link)
    count = _PROCESSES * _IN_EACH
    reign = stand.leader(30)
    time.sleep(2.0)
    quiet = link.most_within(1.0, since=time.monotonic() - 1.0)

    with stand.fault("the store refuses all connections"):
        link.refuse()
        stand.sleep(stand.times.leases)
        link.listen()
        back_at = time.monotonic()
    stand.leader(after=reign)
    time.sleep(5.0)

    asked = link.most_within(1.0, since=back_at)
    assert asked <= quiet + _A_SECOND * count, f"{asked} in a second, {quiet} before"
    assert link.connections < 50 * count, "connections one after the other"
    assert all(worker.process.alive for crowd in crowds for worker in crowd)
    stand.finish()


def _make_room(stand: Stand) -> None:
    """Take times that two hundred sessions on one small machine can keep."""
    match stand.kind:
        case "zookeeper":
            stand.own_server(tick=2.0)  # it has more to do the shorter its ticks are
        case "consul":  # they all come from one address, which is granted 200 connections
            stand.own_server(config={"limits": {"http_max_conns_per_client": 10_000}})
    stand.ttl = 8.0 if stand.kind != "consul" else 5.0


def _start_crowds(
    stand: Stand, *links: Proxy, processes: int = _PROCESSES, each: int = _IN_EACH
) -> list[list[Worker]]:
    crowds = [stand.crowd(f"crowd-{number}", each, *links) for number in range(processes)]
    with stand.fault("all of them come at once"):
        for crowd in crowds:
            crowd[0].cue()
    return crowds
