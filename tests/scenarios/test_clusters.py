"""Three servers, and a URL that names them all: losing one of them costs no leadership."""

from __future__ import annotations

import time
from typing import Protocol

import pytest

from tests.scenarios.conftest import FleetFactory
from tests.scenarios.fleet import Fleet, Reign, await_true
from tests.scenarios.places import SERVERS, Running, on_clusters
from tests.servers.process import ServerError

_TTL = 10.0  # Consul may take 5 s to agree on who leads its servers
_RIDDEN_OUT = _TTL * 0.5  # an outage that a lease of which a third was used up outlasts


class Cluster(Protocol):
    def leader(self) -> Running: ...
    def followers(self) -> list[Running]: ...


@pytest.fixture
def cluster(kind: str, request: pytest.FixtureRequest) -> Cluster:
    """Three servers of the test's own, of the kind that the test's parameter names."""
    found: Cluster = request.getfixturevalue(f"{kind}_cluster")
    return found


@on_clusters
def test_a_server_of_three_is_killed(make_fleet: FleetFactory, kind: str, cluster: Cluster) -> None:
    """The one in use, then the one that leads the others."""
    _kill_servers(make_fleet, cluster)


@pytest.mark.soak
@pytest.mark.timeout(300)
@on_clusters
def test_servers_of_three_are_killed_again_and_again(
    make_fleet: FleetFactory, kind: str, cluster: Cluster
) -> None:
    """Whoever leads them then."""
    for _ in range(5):
        _kill_servers(make_fleet, cluster)


def _kill_servers(make_fleet: FleetFactory, cluster: Cluster) -> None:
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
    await_true("there is a new leader of the servers", lambda: _is_led(cluster), 15)
    _assert_undisturbed(fleet, reign)
    chief.start()

    ann.stop()
    assert fleet.await_reign(10, after=reign).worker is ben
    fleet.finish()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.soak) if kind != "zookeeper" else kind
        for kind in SERVERS
    ],
)
def test_the_leader_of_three_servers_is_frozen(
    make_fleet: FleetFactory, kind: str, cluster: Cluster
) -> None:
    """The others elect another; no leadership of ours changes, whichever server one talks to.

    Unless the servers take so long to agree on a leader that the lease ends meanwhile, as they may
    on a busy machine; then the next term follows by the same rules.
    """
    chief = cluster.leader()
    used, spare = cluster.followers()
    fleet = make_fleet(_url(chief, used, spare), ttl=_TTL)
    ann = fleet.start("ann")
    reign = fleet.await_reign(15)
    ben = fleet.start("ben", url=_url(used, spare, chief))
    ben.await_event("campaigning", 15)

    chief.pause()
    paused = time.monotonic()
    try:
        time.sleep(1.0)
        await_true("there is a new leader of the servers", lambda: _is_led(cluster, chief), 30)
        if time.monotonic() - paused < _RIDDEN_OUT:
            _assert_undisturbed(fleet, reign)
        else:
            reign = _assert_lost_by_the_lease(fleet, reign)
    finally:
        chief.resume()
    _assert_undisturbed(fleet, reign, lost=reign.worker.count("lost"))

    reign.worker.stop()
    assert fleet.await_reign(10, after=reign).worker is (ben if reign.worker is ann else ann)
    fleet.finish()


def _is_led(cluster: Cluster, but_not_by: Running | None = None) -> bool:
    try:
        return cluster.leader() not in {None, but_not_by}
    except ServerError:
        return False


def _assert_undisturbed(fleet: Fleet, before: Reign, lost: int = 0) -> None:
    """It leads for the same term, and has renewed it since the trouble ended."""
    time.sleep(fleet.ttl / 3 + 1)
    after = fleet.await_reign(1)
    assert (after.worker, after.token) == (before.worker, before.token), fleet.told()
    worker = after.worker
    await_true("resumed", lambda: worker.count("suspended") == worker.count("resumed"), 3)
    assert worker.count("lost") == lost


def _assert_lost_by_the_lease(fleet: Fleet, before: Reign) -> Reign:
    """It leads on, or its lease has ended and the next term has a larger token; returns which."""
    time.sleep(fleet.ttl / 3 + 1)
    after = fleet.await_reign(30)
    if after.token != before.token:
        assert after.token > before.token, fleet.told()
        assert before.worker.count("lost") == 1, fleet.told()
    return after


def _url(*nodes: Running) -> str:
    return nodes[0].url_at(*(node.port for node in nodes))
