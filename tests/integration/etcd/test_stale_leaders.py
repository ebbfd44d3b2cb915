"""Renewals at a member that has not noticed yet that it is no longer the leader."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.url import StoreURL
from leadership_core.errors import StoreUnavailable
from leadership_etcd.session import QUORUM_READ
from leadership_etcd.store import EtcdStore
from tests.conftest import EtcdFactory
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.process import ServerError
from tests.support.servers.proxy import Proxy
from tests.support.waiting import wait_until


def test_renewal_by_former_raft_leader_does_not_count(etcd_cluster: EtcdCluster) -> None:
    """A member that was paused answers at once when it goes on; others may have ended the lease."""
    follower, leader = etcd_cluster.followers()[0], etcd_cluster.leader()
    with Proxy(follower.port) as proxy, ThreadPoolExecutor() as pool:
        store = EtcdStore(StoreURL.parse(follower.url_at(proxy.port)))
        session = store.open_session(10.0)
        assert _renewed(session) == 10.0
        held = proxy.hold(QUORUM_READ.SerializeToString())
        renewed = pool.submit(_renewed, session)
        assert held.caught.wait(5)  # the renewal is acknowledged and not confirmed yet

        leader.process.kill()
        wait_until(lambda: _leads(etcd_cluster, leader), 10, "another one leads")
        held.release()

        with pytest.raises(StoreUnavailable, match="leader"):
            renewed.result(10)
        assert _renewed(session) == 10.0
        session.close()
        store.close()


def test_user_without_read_permission_renews(etcd_server: EtcdFactory) -> None:
    """The quorum read that confirms a renewal need not be permitted."""
    server = etcd_server(auth=True)
    server.cli("user", "add", "guest:pw")
    store = EtcdStore(StoreURL.parse(f"etcd://guest:pw@{server.host}:{server.port}"))
    session = store.open_session(10.0)

    assert _renewed(session) == 10.0
    assert _renewed(session) == 10.0

    session.close()
    store.close()


def _renewed(session: object) -> float:
    with call_timeout(6.0):
        return float(session.renew())  # type: ignore[attr-defined]


def _leads(cluster: EtcdCluster, but: EtcdServer) -> bool:
    try:
        return cluster.leader() is not but
    except ServerError:
        return False
