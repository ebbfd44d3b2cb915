"""Servers of all rows of the table that tests share, each started when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers.consul import Consul, ConsulAgent
from tests.servers.etcd import Etcd, EtcdServer
from tests.servers.fixtures_zookeeper import open_to_all
from tests.servers.releases import kind_of
from tests.servers.wanted import found
from tests.servers.zookeeper import ZooKeeper, ZooKeeperServer

__all__ = ["Shared", "shared_server"]

Shared = Callable[[str], Any]
"""Returns the server of a kind, or of a row of `tests.servers.releases`."""

_FIXTURES = {"consul": "consul", "etcd": "shared_etcd", "zookeeper": "shared_zookeeper"}


@pytest.fixture(scope="session")
def shared_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """The server of a kind or a row that all tests share; they leave it running."""
    running: dict[str, Consul | Etcd | ZooKeeper] = {}
    with ExitStack() as stack:

        def shared(name: str) -> Consul | Etcd | ZooKeeper:
            if name in _FIXTURES:
                server: Consul | Etcd | ZooKeeper = request.getfixturevalue(_FIXTURES[name])
                return server
            if name not in running:
                running[name] = start(name)
            return running[name]

        def start(name: str) -> Consul | Etcd | ZooKeeper:
            folder, server = tmp_path_factory.mktemp(name), found(name)
            own: ConsulAgent | EtcdServer | ZooKeeperServer
            if kind_of(name) == "consul":
                own = ConsulAgent(server, folder, dev=True)
            elif kind_of(name) == "etcd":
                own = EtcdServer(server, folder)
            else:
                own = ZooKeeperServer(server, folder)
            stack.callback(own.remove)
            own.start()
            if isinstance(own, ZooKeeperServer):
                open_to_all(own)
            return own

        yield shared
