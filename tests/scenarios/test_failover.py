"""A leader crashes, or leaves: the next one, how soon, and with which token."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet
from tests.servers.consul import Consul


def test_crash_and_handover_on_sqlite(
    make_fleet: FleetFactory, on_sqlite: Place, measured: Report
) -> None:
    """A crashed leader is replaced within ttl + 0.5 s, one that is told to stop at once."""
    _crash_and_handover(make_fleet(on_sqlite), on_sqlite.ttl + 0.5, measured)


def test_crash_and_handover_on_consul(
    make_fleet: FleetFactory, on_consul: Place, measured: Report
) -> None:
    """A crashed leader is replaced within 2 ttl + 1 s, one that is told to stop at once."""
    _crash_and_handover(make_fleet(on_consul), 2 * on_consul.ttl + 1, measured)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_crash_and_handover_on_consul_as_it_is_in_life(
    make_fleet: FleetFactory, consul: Consul, measured: Report
) -> None:
    """The same with a ttl of 10 s, the least that Consul takes unless it is told otherwise."""
    _crash_and_handover(make_fleet(consul.url, ttl=10.0), 2 * 10.0 + 1, measured)


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
