"""Faults of the leading process, its connection and the servers: never two leaders, and soon one again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KubernetesFactory, ProxyFactory
from tests.support.servers.kubernetes import Kubernetes
from tests.support.waiting import at_most
from tests.support.workers import Fleet

pytestmark = pytest.mark.slow

_TTL = 2.0
_FAILOVER = _TTL + 1.0
"""Seconds on an idle machine: the whole ttl is observed, and then a Lease is written."""


@pytest.fixture
def fleet(shared_kubernetes: Kubernetes, tmp_path: Path, unique_key: str) -> Iterator[Fleet]:
    found = Fleet(tmp_path / "workers", shared_kubernetes.url, unique_key, _TTL)
    yield found
    found.kill()


def test_leader_that_is_killed_is_replaced_after_its_ttl(fleet: Fleet) -> None:
    """One that leaves is replaced at once."""
    fleet.start_all("ann", "ben", "cat")
    leader = fleet.await_leader(15)
    killed = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    leader.worker.signal(signal.SIGKILL)

    second = fleet.await_leader(_FAILOVER + 5, after=leader)

    assert (second.since - killed) / 1e9 < at_most(_FAILOVER)
    stopped = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    second.worker.stop()
    third = fleet.await_leader(5, after=second)
    assert (third.since - stopped) / 1e9 < at_most(0.5)
    fleet.finish()


def test_leader_that_is_paused_past_its_lease_does_not_lead_afterwards(fleet: Fleet) -> None:
    """Its first look after the pause says so, whatever the length of the pause."""
    fleet.start_all("ann", "ben", pause=0.0)
    for factor in (0.5, 0.9, 1.05, 1.5):
        leader = fleet.await_leader(15)
        leader.worker.process.pause()
        time.sleep(factor * _TTL)
        leader.worker.process.resume()
    fleet.await_leader(15)
    fleet.finish()


def test_leader_that_is_cut_off_stops_before_the_next_one_leads(
    fleet: Fleet, shared_kubernetes: Kubernetes, proxy: ProxyFactory
) -> None:
    """Its packets vanish; it campaigns again when the link is back."""
    link = proxy(shared_kubernetes.port)
    url = shared_kubernetes.url_at(link.port)
    first = fleet.start("ann", url=url)
    leader = fleet.await_leader(15)
    fleet.start("ben").await_event("campaigning", 15)

    link.cut()
    second = fleet.await_leader(_FAILOVER + 5, after=leader)

    assert first.await_event("lost", 5).reason == "expired"
    assert first.recording.read().intervals[0].until < second.since
    link.heal()
    second.worker.stop()
    assert fleet.await_leader(15, after=second).worker is first
    fleet.finish()


@pytest.mark.parametrize("which", ["api server", "etcd"])
def test_election_survives_servers_that_are_away_and_frozen(
    which: str, kubernetes_server: KubernetesFactory, tmp_path: Path, unique_key: str
) -> None:
    """No term outlives its lease meanwhile, and one of them leads afterwards."""
    server = kubernetes_server()
    target = server if which == "api server" else server.etcd
    fleet = Fleet(tmp_path / "workers", server.url, unique_key, _TTL)
    try:
        fleet.start_all("ann", "ben")
        leader = fleet.await_leader(15)
        target.pause()
        time.sleep(2 * _TTL)
        assert fleet.leader() is None
        target.resume()
        leader = fleet.await_leader(20, after=leader)

        target.kill()
        time.sleep(2 * _TTL)
        assert fleet.leader() is None
        target.start()
        fleet.await_leader(30, after=leader)
        fleet.finish()
    finally:
        fleet.kill()
