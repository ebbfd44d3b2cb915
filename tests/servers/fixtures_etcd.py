"""Fixtures that are etcd servers."""

from __future__ import annotations

import http.client
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pytest

from tests.servers.etcd import Etcd, EtcdServer
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.process import ServerError
from tests.servers.provision import Server
from tests.servers.wanted import asked, found

__all__ = [
    "EtcdFactory",
    "etcd",
    "etcd_cluster",
    "etcd_server",
    "shared_etcd",
]


@pytest.fixture(scope="session")
def shared_etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Etcd]:
    """An etcd that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_ETCD (etcd://host:port) names if that grants leases of 1 s,
    which takes an election timeout of 500 ms; otherwise one of our own.
    """
    server = found("etcd")
    named = _named(server)
    if named is not None and named.shortest_lease() == 1:
        yield named
        return
    if named is not None:
        terminal = request.config.get_terminal_writer()
        terminal.line()
        terminal.line(
            "LEADERSHIP_TEST_ETCD grants no leases of 1 s (see --election-timeout): "
            "tests that need them use an etcd of their own"
        )
    own = EtcdServer(server, tmp_path_factory.mktemp("etcd"))
    try:
        own.start()
        yield own
    finally:
        own.remove()


def _named(server: Server) -> Etcd | None:
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
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(*, release: str = "", **options: Any) -> EtcdServer:
            place = found(release or asked(request, "etcd"))
            server = EtcdServer(place, tmp_path / f"etcd-{next(numbers)}", **options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def etcd(etcd_server: EtcdFactory) -> EtcdServer:
    """An etcd server of the test's own."""
    return etcd_server()


@pytest.fixture
def etcd_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    """Three etcd servers of the test's own that elect a leader among themselves."""
    cluster = EtcdCluster(found(asked(request, "etcd")), tmp_path / "etcd-cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
