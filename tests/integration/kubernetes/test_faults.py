"""Faults of the servers: never two leaders, and soon one again; those of processes and links are in `tests/system`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import KubernetesFactory
from tests.support.workers import Fleet

pytestmark = pytest.mark.slow

_TTL = 2.0


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
