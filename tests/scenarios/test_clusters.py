"""Three Consul servers, and a URL that names them all: losing one of them costs no leadership."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.conftest import FleetFactory
from tests.scenarios.fleet import Fleet, Reign, await_true
from tests.servers.consul import ConsulAgent
from tests.servers.consul_cluster import ConsulCluster

_TTL = 10.0  # Consul may take 5 s to agree on who leads its servers


def test_a_server_of_three_is_killed(
    make_fleet: FleetFactory, consul_cluster: ConsulCluster
) -> None:
    """The one in use, then the one that leads the others."""
    _kill_servers(make_fleet, consul_cluster)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_servers_of_three_are_killed_again_and_again(
    make_fleet: FleetFactory, consul_cluster: ConsulCluster
) -> None:
    """Whoever leads them then."""
    for _ in range(5):
        _kill_servers(make_fleet, consul_cluster)


def _kill_servers(make_fleet: FleetFactory, cluster: ConsulCluster) -> None:
    used, spare = cluster.followers()
    chief = cluster.leader()
    fleet = make_fleet(_url(used, spare, chief), ttl=_TTL)
    ann = fleet.start("ann")
    reign = fleet.await_reign(15)
    ben = fleet.start("ben", url=_url(used, chief, spare))
    ben.await_event("campaigning", 15)

    used.kill()
    time.sleep(0.5)
    used.start()
    _assert_undisturbed(fleet, reign)

    chief.kill()
    time.sleep(0.5)
    await_true("there is a new leader of the servers", lambda: spare.serves_sessions("10s"), 15)
    _assert_undisturbed(fleet, reign)
    chief.start()

    ann.stop()
    assert fleet.await_reign(10, after=reign).worker is ben
    fleet.finish()


def _assert_undisturbed(fleet: Fleet, before: Reign) -> None:
    """It leads for the same term, and has renewed it since the trouble ended."""
    time.sleep(fleet.ttl / 3 + 1)
    after = fleet.await_reign(1)
    assert (after.worker, after.token) == (before.worker, before.token), fleet.told()
    worker = after.worker
    await_true("resumed", lambda: worker.count("suspended") == worker.count("resumed"), 3)
    assert worker.count("lost") == 0


def _url(*agents: ConsulAgent) -> str:
    return "consul://" + ",".join(f"{agent.host}:{agent.port}" for agent in agents)
