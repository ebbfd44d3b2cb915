"""A leader crashes, or leaves: the next one, how soon, and with which token."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet
from tests.scenarios.places import TIMES, on_all_releases, on_servers
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

pytestmark = pytest.mark.slow


@on_all_releases
def test_crash_and_handover(make_fleet: FleetFactory, place: Place, measured: Report) -> None:
    """A crashed leader is replaced when its lease ends, one that is told to stop at once."""
    _crash_and_handover(make_fleet(place), place.times.failover(), measured)


@pytest.mark.soak
@pytest.mark.timeout(120)
@on_servers
def test_crash_and_handover_as_in_life(
    make_fleet: FleetFactory, kind: str, shared: Consul | Etcd | ZooKeeper, measured: Report
) -> None:
    """The same with a ttl of 10 s, the least that Consul takes unless it is told otherwise."""
    _crash_and_handover(make_fleet(shared.url, ttl=10.0), TIMES[kind].failover(10.0), measured)


def _crash_and_handover(fleet: Fleet, failover: float, measured: Report) -> None:
    fleet.start_all("ann", "ben", "cat")
    first = fleet.await_reign(10)
    assert sum(worker.belief() is not None for worker in fleet.workers) == 1

    killed = now()
    first.worker.signal(signal.SIGKILL)
    second = fleet.await_reign(failover + 5, after=first)
    took = (second.since - killed) / 1e9
    measured("SIGKILL to the next leader", took)
    assert took < failover

    fleet.start_all("dan", "eve")
    handovers = []
    reign = second
    for _ in range(3):
        told = now()
        reign.worker.stop()
        after = fleet.await_reign(5, after=reign)
        handovers.append((after.since - told) / 1e9)
        measured("SIGTERM to the next leader", handovers[-1])
        reign = after
    # One may fall into a moment when the machine is busy with something else.
    assert sorted(handovers)[1] < 0.1
    fleet.finish()
