"""Three Consul servers, and a URL that names them all: losing one of them costs no leadership."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.conftest import FleetFactory
from tests.scenarios.fleet import Reign
from tests.servers.consul import ConsulAgent
from tests.servers.consul_cluster import ConsulCluster


def test_a_server_of_three_is_killed(
    make_fleet: FleetFactory, consul_cluster: ConsulCluster
) -> None:
    """The one in use, then the one that leads the others."""
    _kill_servers(make_fleet, consul_cluster, ttl=6.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_servers_of_three_are_killed_again_and_again(
    make_fleet: FleetFactory, consul_cluster: ConsulCluster
) -> None:
    """The same with a ttl as it is in life."""
    for _ in range(3):
        _kill_servers(make_fleet, consul_cluster, ttl=10.0)


def _kill_servers(make_fleet: FleetFactory, cluster: ConsulCluster, ttl: float) -> None:
    used, spare = cluster.followers()
    chief = cluster.leader()
    fleet = make_fleet(_url(used, spare, chief), ttl=ttl)
    ann = fleet.start("ann")
    reign = fleet.await_reign(15)
    ben = fleet.start("ben", url=_url(used, chief, spare))
    ben.await_event("campaigning", 15)

    used.kill()
    time.sleep(ttl / 2)
    used.start()  # two of three must agree on who leads them next
    assert cluster.leader() is chief
    _assert_undisturbed(fleet.await_reign(1), reign)

    chief.kill()
    time.sleep(ttl + 1)
    _assert_undisturbed(fleet.await_reign(1), reign)
    assert ann.count("lost") == 0
    chief.start()

    ann.stop()
    assert fleet.await_reign(10, after=reign).worker is ben
    fleet.finish()


def _assert_undisturbed(after: Reign, before: Reign) -> None:
    assert (after.worker, after.token) == (before.worker, before.token)


def _url(*agents: ConsulAgent) -> str:
    return "consul://" + ",".join(f"{agent.host}:{agent.port}" for agent in agents)
