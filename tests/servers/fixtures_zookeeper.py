"""Fixtures that are ZooKeeper servers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
from kazoo.client import KazooClient

from tests.servers.process import ServerError
from tests.servers.wanted import asked, found
from tests.servers.zookeeper import TICK, ZooKeeper, ZooKeeperServer
from tests.servers.zookeeper_cluster import ZooKeeperCluster

__all__ = [
    "ZooKeeperFactory",
    "open_to_all",
    "shared_zookeeper",
    "zookeeper",
    "zookeeper_cluster",
    "zookeeper_server",
]


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
    named = _named()
    if named is not None and named.granted(1.0) == 1.0 and named.mode():
        yield named
        return
    if named is not None:
        terminal = request.config.get_terminal_writer()
        terminal.line()
        terminal.line(
            "LEADERSHIP_TEST_ZOOKEEPER grants no sessions of 1 s, or answers no four-letter words: "
            "tests that need them use a ZooKeeper of their own"
        )
    own = ZooKeeperServer(server, tmp_path_factory.mktemp("zookeeper"))
    try:
        own.start()
        open_to_all(own)
        yield own
    finally:
        own.remove()


def open_to_all(server: ZooKeeper) -> None:
    """Make the folder that all keys of tests are in: whoever comes first would own it."""
    client = KazooClient(f"{server.host}:{server.port}")
    client.start(10)
    try:
        client.create("/test")
    finally:
        client.stop()
        client.close()


def _named() -> ZooKeeper | None:
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
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(*, release: str = "", **options: Any) -> ZooKeeperServer:
            place = found(release or asked(request, "zookeeper"))
            server = ZooKeeperServer(place, tmp_path / f"zookeeper-{next(numbers)}", **options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def zookeeper(zookeeper_server: ZooKeeperFactory) -> ZooKeeperServer:
    """A ZooKeeper server of the test's own."""
    return zookeeper_server()


@pytest.fixture
def zookeeper_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ZooKeeperCluster]:
    """Three ZooKeeper servers of the test's own that elect a leader among themselves."""
    cluster = ZooKeeperCluster(found(asked(request, "zookeeper")), tmp_path / "zookeeper-cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
