"""The etcd servers of the other tests do what those tests rely on."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import EtcdFactory
from tests.support.servers.etcd import Etcd, EtcdServer
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.process import ServerError
from tests.support.waiting import eventually


def test_shared_etcd_takes_writes_and_short_leases(shared_etcd: Etcd, unique_key: str) -> None:
    """The shared server stores what it is given, and grants leases of one second."""
    before = shared_etcd.revision()

    shared_etcd.cli("put", unique_key, "hello")

    assert shared_etcd.cli("get", unique_key, "--print-value-only").stdout == "hello\n"
    assert shared_etcd.revision() == before + 1
    assert shared_etcd.shortest_lease() == 1


@pytest.mark.parametrize("release", ["3.4.23", "3.5.16"])
def test_older_releases_are_there(etcd_server: EtcdFactory, release: str) -> None:
    """Each is what it says, and keeps its data over a crash, a stop and a pause."""
    server = etcd_server(release=f"etcd-{release}")
    server.cli("put", "kept", "1")

    assert server.cli("version").stdout.startswith(f"etcdctl version: {release}")
    server.restart()
    server.stop()
    assert not server.serves()
    server.start()
    server.pause()
    assert not server.serves()
    server.resume()
    server.wait_ready()
    assert server.cli("get", "kept", "--print-value-only").stdout == "1\n"


def test_leases_are_seen_and_revoked(etcd: EtcdServer) -> None:
    """The keys of a lease are known, and go with it."""
    lease = int(etcd.call("lease/grant", {"TTL": 60})["ID"])
    etcd.cli("put", "svc/one", "1", f"--lease={lease:x}")
    etcd.cli("put", "svcs", "not below it")

    assert etcd.keys("svc/") == {"svc/one": lease}
    etcd.revoke(lease)
    assert etcd.keys("svc/") == {}


def test_compaction_forgets_history(etcd: EtcdServer) -> None:
    """What was before the present revision cannot be asked for any more."""
    etcd.cli("put", "a", "1")
    old = etcd.revision()
    etcd.cli("put", "a", "2")

    etcd.compact()

    with pytest.raises(subprocess.CalledProcessError) as caught:
        etcd.cli("get", "a", f"--rev={old}")
    assert "compacted" in caught.value.stderr


def test_password_is_asked_for(etcd_server: EtcdFactory) -> None:
    """With auth, only root may write; also after a restart."""
    server = etcd_server(auth=True, auth_token_ttl=2)
    stranger = Etcd(server.etcdctl, server.host, server.port)

    with pytest.raises(subprocess.CalledProcessError):
        stranger.cli("put", "a", "1")
    server.cli("put", "a", "1")
    server.restart()
    assert server.cli("get", "a", "--print-value-only").stdout == "1\n"
    assert server.url.startswith("etcd://root:p%40ss%20w%2Frd@")


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_tls_server_is_verified(etcd_server: EtcdFactory, *, mutual: bool) -> None:
    """It is reached by those who trust its authority; with mutual TLS, by its clients only."""
    server = etcd_server(tls="mutual" if mutual else True)
    assert server.certificates
    stranger = http.client.HTTPSConnection(server.host, server.port, timeout=5)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/health")
    stranger.close()

    server.cli("put", "a", "1")
    trusting = ssl.create_default_context(cafile=server.certificates.ca)
    anonymous = http.client.HTTPSConnection(server.host, server.port, timeout=5, context=trusting)
    try:
        anonymous.request("GET", "/health")
        served = anonymous.getresponse().status == 200
    except (ssl.SSLError, ConnectionError):
        served = False
    anonymous.close()
    assert served is not mutual


def test_etcdctl_elect_runs_until_stopped(etcd: EtcdServer, tmp_path: Path) -> None:
    """A command of the test's own leads as long as the test wants."""
    elect = etcd.cli_process("elect", "svc", "me", log=tmp_path / "elect.log")
    elect.start()
    try:
        elect.wait_until(lambda: "me" in elect.tail().splitlines(), 10)  # and not in a warning
        assert etcd.keys("svc/")
    finally:
        elect.terminate()

    assert eventually(lambda: not etcd.keys("svc/"))


def test_cluster_elects_another_leader_when_its_leader_dies(etcd_cluster: EtcdCluster) -> None:
    """Three servers form a cluster: what was written outlives the leader; it comes back."""
    first = etcd_cluster.leader()
    first.cli("put", "a", "1")
    witness = etcd_cluster.followers()[0]

    first.kill()

    assert eventually(lambda: _leads_elsewhere(etcd_cluster, first), 10)
    assert witness.cli("get", "a", "--print-value-only").stdout == "1\n"
    first.start()
    assert len(etcd_cluster.followers()) == 2


def test_isolated_node_serves_no_writes(etcd_cluster: EtcdCluster) -> None:
    """Its clients reach it, but it can agree on nothing; the others go on; it heals."""
    first = etcd_cluster.leader()
    other = etcd_cluster.followers()[0]
    first.cli("put", "a", "1")

    etcd_cluster.cut_off(first)

    assert eventually(lambda: _leads_elsewhere(etcd_cluster, first), 10)
    other.cli("put", "a", "2")
    serializable = {"key": "YQ==", "serializable": True}
    assert first.call("kv/range", serializable)["kvs"][0]["value"] == "MQ=="
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        first.call("kv/range", {"key": "YQ=="}, timeout=1.0)
    time.sleep(1.0)
    etcd_cluster.heal()
    assert eventually(lambda: first.call("kv/range", serializable)["kvs"][0]["value"] == "Mg==", 10)


def _leads_elsewhere(cluster: EtcdCluster, node: EtcdServer) -> bool:
    try:
        return cluster.leader() is not node
    except ServerError:
        return False
