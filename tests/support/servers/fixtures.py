"""Fixtures of the servers of Consul, etcd and ZooKeeper: shared ones, and those of a single test."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.servers.consul import Consul, ConsulAgent
from tests.support.servers.consul_cluster import ConsulCluster
from tests.support.servers.etcd import Etcd, EtcdServer
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.fake_time import FakeTime
from tests.support.servers.fixture_tools import cluster, factory, named_or_own, started
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.process import ServerError
from tests.support.servers.provision import Server
from tests.support.servers.releases import kind_of
from tests.support.servers.requirements import found
from tests.support.servers.zookeeper import TICK, ZooKeeper, ZooKeeperServer
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster

__all__ = [
    "ConsulFactory",
    "EtcdFactory",
    "Shared",
    "ZooKeeperFactory",
    "consul",
    "consul_cluster",
    "consul_server",
    "etcd",
    "etcd_cluster",
    "etcd_server",
    "fake_time",
    "shared_etcd",
    "shared_server",
    "shared_zookeeper",
    "usual_consul",
    "zookeeper",
    "zookeeper_cluster",
    "zookeeper_server",
]

# -- Consul -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def consul(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Consul]:
    """A Consul that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_CONSUL (consul://host:port) names if that accepts sessions
    of 1 s, which takes a `session_ttl_min` in its configuration; otherwise one of our own.
    """
    server = found("consul")
    with named_or_own(
        request,
        _named_consul(server),
        lambda named: named.serves_sessions(ttl="1s"),
        "LEADERSHIP_TEST_CONSUL accepts no sessions of 1 s (see session_ttl_min)",
        lambda: ConsulAgent(server, tmp_path_factory.mktemp("consul"), dev=True),
    ) as running:
        yield running


@pytest.fixture(scope="session")
def usual_consul(request: pytest.FixtureRequest) -> Consul:
    """The Consul of $LEADERSHIP_TEST_CONSUL however it is configured, or the shared one.

    For tests whose sessions have at least the 10 s that every Consul accepts.
    """
    named = _named_consul(found("consul"))
    if named is None:
        shared: Consul = request.getfixturevalue("consul")
        return shared
    return named


def _named_consul(server: Server) -> Consul | None:
    url = os.environ.get("LEADERSHIP_TEST_CONSUL")
    if not url:
        return None
    address = urlsplit(url)
    named = Consul(
        server.paths["consul"],
        address.hostname or "127.0.0.1",
        address.port or 8500,
        token=address.password or "",
    )
    if not named.serves_sessions(ttl="10s"):
        raise ServerError(f"LEADERSHIP_TEST_CONSUL: {named.host}:{named.port} serves no sessions")
    return named


class ConsulFactory(Protocol):
    """Starts an agent; the arguments are those of `ConsulAgent`, and a row of `releases`."""

    def __call__(
        self,
        *,
        dev: bool = False,
        acl: bool = False,
        tls: bool | str = False,
        config: dict[str, Any] | None = None,
        release: str = "consul",
    ) -> ConsulAgent: ...


@pytest.fixture
def consul_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ConsulFactory]:
    """Start Consul servers of the test's own, which it may stop, kill, freeze and restart."""
    yield from factory(request, tmp_path, "consul", ConsulAgent)


@pytest.fixture
def consul_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ConsulCluster]:
    """Three Consul servers of the test's own that elect a leader among themselves."""
    yield from cluster(request, tmp_path, "consul", ConsulCluster)


# -- etcd -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Etcd]:
    """An etcd that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_ETCD (etcd://host:port) names if that grants leases of 1 s,
    which takes an election timeout of 500 ms; otherwise one of our own.
    """
    server = found("etcd")
    with named_or_own(
        request,
        _named_etcd(server),
        lambda named: named.shortest_lease() == 1,
        "LEADERSHIP_TEST_ETCD grants no leases of 1 s (see --election-timeout)",
        lambda: EtcdServer(server, tmp_path_factory.mktemp("etcd")),
    ) as running:
        yield running


def _named_etcd(server: Server) -> Etcd | None:
    url = os.environ.get("LEADERSHIP_TEST_ETCD")
    if not url:
        return None
    address = urlsplit(url)
    named = Etcd(
        server.paths["etcdctl"],
        address.hostname or "127.0.0.1",
        address.port or 2379,
        user=unquote(address.username or ""),
        password=unquote(address.password or ""),
    )
    try:
        named.shortest_lease()
    except (OSError, http.client.HTTPException) as error:
        where = f"{named.host}:{named.port}"
        raise ServerError(f"LEADERSHIP_TEST_ETCD: {where} grants no leases: {error}") from error
    return named


class EtcdFactory(Protocol):
    """Starts a server; the arguments are those of `EtcdServer`, and a row of `releases`."""

    def __call__(
        self,
        *,
        release: str = "etcd",
        auth: bool = False,
        auth_token_ttl: int = 300,
        tls: bool | str = False,
        settings: dict[str, str] | None = None,
    ) -> EtcdServer: ...


@pytest.fixture
def etcd_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EtcdFactory]:
    """Start etcd servers of the test's own, which it may stop, kill, freeze and restart."""
    yield from factory(request, tmp_path, "etcd", EtcdServer)


@pytest.fixture
def etcd(etcd_server: EtcdFactory) -> EtcdServer:
    """An etcd server of the test's own."""
    return etcd_server()


@pytest.fixture
def etcd_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    """Three etcd servers of the test's own that elect a leader among themselves."""
    yield from cluster(request, tmp_path, "etcd", EtcdCluster)


# -- ZooKeeper --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_zookeeper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ZooKeeper]:
    """A ZooKeeper that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_ZOOKEEPER (zk://host:port?tick=2) names if that grants
    sessions of 1 s, which takes a tick of 0.5 s, or a minSessionTimeout, and if it may be asked
    for everything (4lw.commands.whitelist); otherwise one of our own.
    """
    server = found("zookeeper")
    with named_or_own(
        request,
        _named_zookeeper(),
        lambda named: named.granted(1.0) == 1.0 and named.mode(),
        "LEADERSHIP_TEST_ZOOKEEPER grants no sessions of 1 s, or answers no four-letter words",
        lambda: ZooKeeperServer(server, tmp_path_factory.mktemp("zookeeper")),
    ) as running:
        yield running


def _named_zookeeper() -> ZooKeeper | None:
    url = os.environ.get("LEADERSHIP_TEST_ZOOKEEPER")
    if not url:
        return None
    address = urlsplit(url)
    tick = float(parse_qs(address.query).get("tick", [str(TICK)])[0])
    named = ZooKeeper(address.hostname or "127.0.0.1", address.port or 2181, tick)
    try:
        named.granted(10.0)
    except OSError as error:
        where = f"{named.host}:{named.port}"
        raise ServerError(f"LEADERSHIP_TEST_ZOOKEEPER: {where} grants no sessions") from error
    return named


class ZooKeeperFactory(Protocol):
    """Starts a server; the arguments are those of `ZooKeeperServer`, and a row of `releases`."""

    def __call__(
        self,
        *,
        tick: float = TICK,
        max_session: float = 0.0,
        tls: bool | str = False,
        settings: dict[str, Any] | None = None,
        release: str = "zookeeper",
    ) -> ZooKeeperServer: ...


@pytest.fixture
def zookeeper_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ZooKeeperFactory]:
    """Start ZooKeeper servers of the test's own, which it may stop, kill, freeze and restart."""
    yield from factory(request, tmp_path, "zookeeper", ZooKeeperServer)


@pytest.fixture
def zookeeper(zookeeper_server: ZooKeeperFactory) -> ZooKeeperServer:
    """A ZooKeeper server of the test's own."""
    return zookeeper_server()


@pytest.fixture
def zookeeper_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ZooKeeperCluster]:
    """Three ZooKeeper servers of the test's own that elect a leader among themselves."""
    yield from cluster(request, tmp_path, "zookeeper", ZooKeeperCluster)


# -- clocks -----------------------------------------------------------------------------------


@pytest.fixture
def fake_time(tmp_path: Path) -> FakeTime:
    """The wall clock of a server that a test starts with ``env=fake_time.env``."""
    return FakeTime(tmp_path / "clock")


# -- all releases -----------------------------------------------------------------------------

Shared = Callable[[str], Any]
"""Returns the server of a kind, or of a row of `tests.support.servers.releases`."""

_FIXTURES = {
    "consul": "consul",
    "etcd": "shared_etcd",
    "kubernetes": "shared_kubernetes",
    "postgres": "shared_postgres",
    "redis": "shared_redis",
    "zookeeper": "shared_zookeeper",
}


@pytest.fixture(scope="session")
def shared_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """The server of a kind or a row that all tests share; they leave it running."""
    running: dict[str, Any] = {}
    with ExitStack() as stack:

        def shared(name: str) -> Any:
            if name in _FIXTURES:
                server: Any = request.getfixturevalue(_FIXTURES[name])
                return server
            if name not in running:
                running[name] = start(name)
            return running[name]

        def start(name: str) -> Consul | Etcd | PostgresServer | ZooKeeper:
            folder, server = tmp_path_factory.mktemp(name), found(name)
            own: ConsulAgent | EtcdServer | PostgresServer | ZooKeeperServer
            if kind_of(name) == "consul":
                own = ConsulAgent(server, folder, dev=True)
            elif kind_of(name) == "etcd":
                own = EtcdServer(server, folder)
            elif kind_of(name) == "postgres":
                own = PostgresServer(server, folder)
            else:
                own = ZooKeeperServer(server, folder)
            server_of_all: Consul | Etcd | PostgresServer | ZooKeeper
            server_of_all = stack.enter_context(started(own))
            return server_of_all

        yield shared
