"""What a leader of the servers says that has not noticed yet that it leads nobody any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from leadership_core.budget import budget
from leadership_core.errors import StoreUnavailable
from leadership_core.url import StoreURL
from leadership_etcd.session import CONFIRMATION
from leadership_etcd.store import EtcdStore
from tests.conftest import EtcdFactory
from tests.scenarios.fleet import await_true
from tests.servers.etcd import EtcdServer
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.process import ServerError
from tests.servers.proxy import Proxy


def test_a_renewal_counts_only_if_its_leader_was_one_afterwards(etcd_cluster: EtcdCluster) -> None:
    """One that has been paused answers at once when it goes on; others may have ended the lease."""
    follower, leader = etcd_cluster.followers()[0], etcd_cluster.leader()
    with Proxy(follower.port) as proxy, ThreadPoolExecutor() as pool:
        store = EtcdStore(StoreURL.parse(follower.url_at(proxy.port)))
        session = store.open_session(10.0)
        assert _renewed(session) == 10.0
        held = proxy.hold(CONFIRMATION.SerializeToString())
        renewed = pool.submit(_renewed, session)
        assert held.caught.wait(5)  # it is renewed, and that is not confirmed yet

        leader.process.kill()
        await_true("another one leads", lambda: _leads(etcd_cluster, leader), 10)
        held.release()

        with pytest.raises(StoreUnavailable, match="leader"):
            renewed.result(10)
        assert _renewed(session) == 10.0
        session.close()
        store.close()


def test_a_user_who_may_read_nothing_renews(etcd_server: EtcdFactory) -> None:
    """What confirms a renewal is a read, and what is behind it need not be allowed."""
    server = etcd_server(auth=True)
    server.cli("user", "add", "guest:pw")
    store = EtcdStore(StoreURL.parse(f"etcd://guest:pw@{server.host}:{server.port}"))
    session = store.open_session(10.0)

    assert _renewed(session) == 10.0
    assert _renewed(session) == 10.0

    session.close()
    store.close()


def _renewed(session: object) -> float:
    with budget(6.0):
        return float(session.renew())  # type: ignore[attr-defined]


def _leads(cluster: EtcdCluster, but: EtcdServer) -> bool:
    try:
        return cluster.leader() is not but
    except ServerError:
        return False
