"""What every test can ask for: real servers, a link that can be cut, a key of its own.

A test that asks for a server is marked `server`. A server that cannot be had fails the tests
that need it; it never makes them disappear.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from tests.servers.consul import Consul, ConsulAgent
from tests.servers.consul_cluster import ConsulCluster
from tests.servers.etcd import EtcdServer
from tests.servers.process import ServerError
from tests.servers.provision import ProvisionError, Server, locate
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer

_SERVER_OF = {
    "consul": "consul",
    "usual_consul": "consul",
    "consul_server": "consul",
    "consul_cluster": "consul",
    "etcd": "etcd",
    "zookeeper": "zookeeper",
}
"""The fixtures that start something, and what has to be there for it."""

_servers: dict[str, Server | ProvisionError] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _SERVER_OF.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


def pytest_collection_finish(session: pytest.Session) -> None:
    # Now, because fetching one may take longer than a test may.
    if session.config.option.collectonly:
        return
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in sorted({_SERVER_OF[fixture] for fixture in asked & _SERVER_OF.keys()}):
        try:
            _servers[name] = locate(name)
        except ProvisionError as error:
            _servers[name] = error


def _server(name: str) -> Server:
    found = _servers[name]
    if isinstance(found, ProvisionError):
        pytest.fail(f"{name} is not to be had: {found}", pytrace=False)
    return found


# -- threads ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread of ours behind; it has 2 s to end."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    while left := _ours() - before:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left running: {sorted(t.name for t in left)}", pytrace=False)
        time.sleep(0.01)


def _ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("leadership-")}


# -- Consul -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def consul(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Consul]:
    """A Consul that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_CONSUL (consul://host:port) names if that accepts sessions
    of 1 s, which takes a `session_ttl_min` in its configuration; otherwise one of our own.
    """
    server = _server("consul")
    named = _named(server)
    if named is not None and named.serves_sessions(ttl="1s"):
        yield named
        return
    if named is not None:
        terminal = request.config.get_terminal_writer()
        terminal.line()
        terminal.line(
            "LEADERSHIP_TEST_CONSUL accepts no sessions of 1 s (see session_ttl_min): "
            "tests that need them use a Consul of their own"
        )
    agent = ConsulAgent(server, tmp_path_factory.mktemp("consul"), dev=True)
    try:
        agent.start()
        yield agent
    finally:
        agent.remove()


@pytest.fixture(scope="session")
def usual_consul(request: pytest.FixtureRequest) -> Consul:
    """The Consul of $LEADERSHIP_TEST_CONSUL however it is configured, or the shared one.

    For tests whose sessions have at least the 10 s that every Consul accepts.
    """
    named = _named(_server("consul"))
    if named is None:
        shared: Consul = request.getfixturevalue("consul")
        return shared
    return named


def _named(server: Server) -> Consul | None:
    url = os.environ.get("LEADERSHIP_TEST_CONSUL")
    if not url:
        return None
    address = urlsplit(url)
    found = Consul(
        server.paths["consul"],
        address.hostname or "127.0.0.1",
        address.port or 8500,
        token=address.password or "",
    )
    if not found.serves_sessions(ttl="10s"):
        raise ServerError(f"LEADERSHIP_TEST_CONSUL: {found.host}:{found.port} serves no sessions")
    return found


class ConsulFactory(Protocol):
    """Starts an agent; the arguments are those of `ConsulAgent`."""

    def __call__(
        self,
        *,
        dev: bool = False,
        acl: bool = False,
        tls: bool | str = False,
        config: dict[str, Any] | None = None,
    ) -> ConsulAgent: ...


@pytest.fixture
def consul_server(tmp_path: Path) -> Iterator[ConsulFactory]:
    """Start Consul servers of the test's own, which it may stop, kill, freeze and restart."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(**options: Any) -> ConsulAgent:
            agent = ConsulAgent(_server("consul"), tmp_path / f"consul-{next(numbers)}", **options)
            stack.callback(agent.remove)
            agent.start()
            return agent

        yield start


@pytest.fixture
def consul_cluster(tmp_path: Path) -> Iterator[ConsulCluster]:
    """Three Consul servers of the test's own that elect a leader among themselves."""
    cluster = ConsulCluster(_server("consul"), tmp_path / "consul-cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


# -- the other servers ----------------------------------------------------------------------


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd server of the test's own."""
    server = EtcdServer(_server("etcd"), tmp_path / "etcd")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper server of the test's own."""
    server = ZooKeeperServer(_server("zookeeper"), tmp_path / "zookeeper")
    try:
        server.start()
        yield server
    finally:
        server.remove()


# -- everything else --------------------------------------------------------------------------


class ProxyFactory(Protocol):
    """Starts a proxy before a port."""

    def __call__(self, port: int, host: str = "127.0.0.1") -> Proxy: ...


@pytest.fixture
def proxy() -> Iterator[ProxyFactory]:
    """Put proxies before servers, to cut, slow down or reset the connections through them."""
    with ExitStack() as stack:

        def start(port: int, host: str = "127.0.0.1") -> Proxy:
            return stack.enter_context(Proxy(port, host))

        yield start


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a thing, for databases.

    A commit waits for the disk, and that of a virtual machine may take seconds over it when
    the processors are busy: nobody is elected meanwhile, which is right and would fail tests.
    """
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path
    # Not a TemporaryDirectory, which every forked child that ends would remove.
    folder = Path(mkdtemp(dir=place, prefix="leadership-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unique_key(request: pytest.FixtureRequest) -> str:
    """A key that no other test uses, nor this one in another run."""
    name = re.sub(r"\W+", "-", request.node.name, flags=re.ASCII).strip("-")[:60]
    return f"test/{name}/{uuid.uuid4().hex[:8]}"
