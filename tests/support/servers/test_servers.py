"""The servers of the other tests do what those tests rely on."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ConsulFactory
from tests.support.paths import ROOT
from tests.support.servers.consul import Consul
from tests.support.servers.consul_cluster import ConsulCluster
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process, ServerError
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.support.waiting import eventually


def test_shared_agent_takes_writes_and_short_sessions(consul: Consul, unique_key: str) -> None:
    """The shared agent stores what it is given, and opens sessions of one second."""
    put = consul.request("PUT", f"/v1/kv/{unique_key}", "hello")
    made = consul.request("PUT", "/v1/session/create", {"TTL": "1s"})

    assert (put.status, put.body) == (200, True)
    assert consul.request("GET", f"/v1/kv/{unique_key}?raw").body == "hello"
    assert made.status == 200
    consul.request("PUT", f"/v1/session/destroy/{made.body['ID']}")


def test_consul_command_reaches_the_agent(consul: Consul, unique_key: str) -> None:
    """The real `consul` command works on the same keys."""
    consul.cli("kv", "put", unique_key, "by hand")

    assert consul.request("GET", f"/v1/kv/{unique_key}?raw").body == "by hand"
    assert consul.cli("kv", "delete", unique_key).returncode == 0
    assert consul.request("GET", f"/v1/kv/{unique_key}").status == 404


def test_consul_lock_holds_until_it_is_ended(
    consul: Consul, unique_key: str, tmp_path: Path
) -> None:
    """A `consul lock` of the test's own holds the lock as long as the test wants."""
    lock = consul.cli_process("lock", unique_key, "sleep 60", log=tmp_path / "lock.log")
    path = f"/v1/kv/{unique_key}/.lock"

    lock.start()
    try:
        lock.wait_until(lambda: consul.request("GET", path).status == 200, 10)
        assert consul.request("GET", path).body[0]["Session"]
    finally:
        lock.terminate()
    assert not lock.alive


def test_agent_keeps_its_data_over_a_restart(consul_server: ConsulFactory) -> None:
    """Killed or stopped, an agent comes back on the same port with what it held."""
    agent = consul_server()
    agent.request("PUT", "/v1/kv/kept", "1")
    port = agent.port

    agent.kill()
    with pytest.raises(ConnectionRefusedError):
        agent.request("GET", "/v1/kv/kept")
    agent.start()
    after_kill = agent.request("GET", "/v1/kv/kept?raw").body
    agent.stop()
    agent.start()

    assert agent.port == port
    assert (after_kill, agent.request("GET", "/v1/kv/kept?raw").body) == ("1", "1")


def test_paused_agent_answers_nothing_until_it_is_resumed(consul_server: ConsulFactory) -> None:
    """A frozen agent takes connections and stays silent; then it goes on."""
    agent = consul_server(dev=True)

    agent.pause()
    with pytest.raises(TimeoutError):
        agent.request("GET", "/v1/kv/x", timeout=0.3)
    agent.resume()

    assert agent.request("GET", "/v1/kv/x").status == 404


def test_acl_denies_clients_without_token(consul_server: ConsulFactory) -> None:
    """With ACLs only the management token may write; a wrong one is refused."""
    agent = consul_server(acl=True)

    assert agent.request("PUT", "/v1/kv/x", "1", token="").status == 403
    assert agent.request("PUT", "/v1/kv/x", "1", token="wrong").status == 403
    assert agent.request("PUT", "/v1/kv/x", "1").status == 200
    assert f":{agent.token}@" in agent.url


def test_tls_agent_is_verified(consul_server: ConsulFactory) -> None:
    """An agent with TLS is reached by those who trust its authority, and only by them."""
    agent = consul_server(dev=True, tls=True)
    stranger = http.client.HTTPSConnection(agent.host, agent.port, timeout=5)

    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/v1/status/leader")
    stranger.close()

    assert agent.request("PUT", "/v1/kv/x", "1").status == 200
    assert agent.cli("kv", "get", "x").stdout == "1\n"
    assert agent.url.startswith("consul+tls://127.0.0.1:")


def test_mutual_tls_asks_clients_for_a_certificate(consul_server: ConsulFactory) -> None:
    """With mutual TLS a client without a certificate gets no answer."""
    agent = consul_server(dev=True, tls="mutual")
    assert agent.certificates
    trusting = ssl.create_default_context(cafile=agent.certificates.ca)
    anonymous = http.client.HTTPSConnection(agent.host, agent.port, timeout=5, context=trusting)

    with pytest.raises((ssl.SSLError, ConnectionError)):  # an alert or a reset, whichever is seen
        _ask(anonymous, "/v1/status/leader")
    anonymous.close()

    assert agent.request("PUT", "/v1/kv/x", "1").status == 200


def _ask(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path)
    return connection.getresponse()


def test_cluster_elects_another_leader_when_its_leader_dies(consul_cluster: ConsulCluster) -> None:
    """Three servers form a cluster: what was written outlives the leader."""
    first = consul_cluster.leader()
    first.request("PUT", "/v1/kv/x", "1")
    witness = consul_cluster.followers()[0]

    first.kill()

    assert eventually(lambda: _leads_elsewhere(consul_cluster, first.rpc_port), 20)
    witness.wait_ready()
    assert witness.request("GET", "/v1/kv/x?raw&consistent").body == "1"


def _leads_elsewhere(cluster: ConsulCluster, rpc_port: int) -> bool:
    try:
        return cluster.leader().rpc_port != rpc_port
    except ServerError:
        return False


def test_etcd_serves(etcd: EtcdServer) -> None:
    """An etcd node starts, stores a key and gives it back."""
    etcd.cli("put", "key", "value")

    assert etcd.cli("get", "key", "--print-value-only").stdout == "value\n"


def test_zookeeper_serves(zookeeper: ZooKeeperServer) -> None:
    """A ZooKeeper node starts alone and says which role it has."""
    assert "Mode: standalone" in zookeeper.ask("srvr")


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error of a start that fails carries what the server has printed."""
    broken = Process(["sh", "-c", "echo the disk is full; exit 3"], tmp_path / "log")

    broken.start()
    with pytest.raises(ServerError, match=r"ended with 3:\nthe disk is full"):
        broken.wait_until(lambda: False, 5)


def test_server_dies_with_the_test_process(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    script = (
        "import pathlib, time\n"
        "from tests.support.servers.process import Process\n"
        f"child = Process(['sleep', '60'], pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "child.start()\n"
        "line = pathlib.Path(f'/proc/{child.pid}/cmdline')\n"
        "child.wait_until(lambda: line.read_bytes().startswith(b'sleep'), 10)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout
        server = int(run.stdout.readline())
        run.kill()

    assert eventually(lambda: not _exists(server), 10)


def _exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # a zombie has ended, though its entry stays


def test_ports_differ_and_stay_reserved() -> None:
    """Ports given out are never given out twice while we live."""
    ports = [free_port() for _ in range(20)]

    assert len(set(ports)) == 20
    assert all(port < 32768 for port in ports)
