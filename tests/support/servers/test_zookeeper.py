"""The ZooKeeper servers of the other tests do what those tests rely on."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_digest_acl

from tests.conftest import ZooKeeperFactory
from tests.support.servers.process import ServerError
from tests.support.servers.zookeeper import SUPER, ZooKeeper, ZooKeeperServer
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.waiting import at_most, eventually


@contextmanager
def _client(port: int, timeout: float = 4.0, **options: Any) -> Iterator[Any]:
    client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=timeout, **options)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_shared_zookeeper_grants_what_its_ticks_allow(shared_zookeeper: ZooKeeper) -> None:
    """Sessions are 2 to 20 ticks long."""
    assert shared_zookeeper.granted(0.1) == 1.0
    assert shared_zookeeper.granted(3.0) == 3.0
    assert shared_zookeeper.granted(100.0) == 10.0


def test_data_outlive_the_server(zookeeper: ZooKeeperServer) -> None:
    """A crash, a stop and a pause lose nothing."""
    with _client(zookeeper.port) as client:
        client.create("/kept", b"1")

    zookeeper.restart()
    zookeeper.stop()
    assert not zookeeper.serves()
    zookeeper.start()
    zookeeper.pause()
    assert not zookeeper.serves()
    zookeeper.resume()
    zookeeper.wait_ready()

    with _client(zookeeper.port) as client:
        assert client.get("/kept")[0] == b"1"


def test_session_is_expired_by_force(shared_zookeeper: ZooKeeper, unique_key: str) -> None:
    """The session of another client is found by its node, and ends with it; the session knows."""
    path = "/" + unique_key.replace("/", "-")
    with _client(shared_zookeeper.port) as client:
        client.create(path, b"", ephemeral=True)
        before = shared_zookeeper.zxid()
        session = shared_zookeeper.ephemerals()[path]
        assert session == client.client_id[0]
        assert session in shared_zookeeper.sessions()

        shared_zookeeper.expire(session)

        assert path not in shared_zookeeper.ephemerals()
        assert shared_zookeeper.zxid() == before + 1
        with pytest.raises((SessionExpiredError, ConnectionError)):
            shared_zookeeper.expire(session)


def test_longer_sessions_can_be_had(zookeeper_server: ZooKeeperFactory) -> None:
    """The limits follow the tick, unless they are set."""
    assert zookeeper_server(tick=0.1, max_session=60).granted(100) == 60.0


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_tls_server_is_verified(zookeeper_server: ZooKeeperFactory, *, mutual: bool) -> None:
    """It is reached by those who trust its authority; with mutual TLS, by its clients only."""
    server = zookeeper_server(tls="mutual" if mutual else True)
    files = server.certificates
    assert files
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(
            _socket(server.secure_port), server_hostname="127.0.0.1"
        )

    trusting: dict[str, Any] = {"use_ssl": True, "ca": str(files.ca)}
    known: dict[str, Any] = {"certfile": str(files.client_cert), "keyfile": str(files.client_key)}
    with _client(server.secure_port, **trusting, **known) as client:
        client.create("/a", b"1")
    with _client(server.port) as client:
        assert client.get("/a")[0] == b"1"
    if mutual:
        anonymous = KazooClient(hosts=f"127.0.0.1:{server.secure_port}", **trusting)
        with pytest.raises(KazooTimeoutError):
            anonymous.start(1)
        anonymous.close()


def _socket(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def test_super_user_may_do_everything(zookeeper: ZooKeeperServer) -> None:
    """What a user has locked, our super user opens."""
    with _client(zookeeper.port) as client:
        client.create("/locked", b"", acl=[make_digest_acl("ann", "secret", all=True)])
        with pytest.raises(NoAuthError):
            client.get("/locked")

    with _client(zookeeper.port, auth_data=[("digest", ":".join(SUPER))]) as client:
        client.get("/locked")


def test_ensemble_elects_another_leader_when_its_leader_dies(
    zookeeper_cluster: ZooKeeperCluster,
) -> None:
    """Three servers form a cluster: what was written outlives the leader; it comes back."""
    first = zookeeper_cluster.leader()
    with _client(first.port) as client:
        client.create("/a", b"1")
    witness = zookeeper_cluster.followers()[0]

    first.kill()

    assert eventually(lambda: _leads_elsewhere(zookeeper_cluster, first), 15)
    witness.wait_ready()
    with _client(witness.port) as client:
        assert client.get("/a")[0] == b"1"
    first.start()
    assert len(zookeeper_cluster.followers()) == 2


def test_follower_that_is_cut_off_answers_reads(zookeeper_cluster: ZooKeeperCluster) -> None:
    """For a while it does not know; then it rejects clients until it has found the others again."""
    leader, (cut, _) = zookeeper_cluster.leader(), zookeeper_cluster.followers()
    with _client(cut.port, timeout=10.0) as behind, _client(leader.port) as ahead:
        behind.create("/a", b"1")
        at = time.monotonic()

        zookeeper_cluster.cut_off(cut)

        ahead.set("/a", b"2")
        assert behind.get("/a")[0] == b"1"
        assert time.monotonic() - at < at_most(1.0)
        assert eventually(lambda: cut.mode() == "", 10)
        assert zookeeper_cluster.leader() is leader
        zookeeper_cluster.heal()
        assert eventually(lambda: cut.mode() == "follower", 20)
        assert behind.retry(behind.get, "/a")[0] == b"2"


def _leads_elsewhere(cluster: ZooKeeperCluster, node: ZooKeeperServer) -> bool:
    try:
        return cluster.leader() is not node
    except ServerError:
        return False
