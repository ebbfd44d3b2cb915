"""Which servers a test run needs, and where they are; they are got before the first test."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.servers.provision import SERVERS, ProvisionError, Server, locate

__all__ = ["found", "get_ready", "wanted_by"]

_SERVER_OF = {
    "consul": "consul",
    "usual_consul": "consul",
    "consul_server": "consul",
    "consul_cluster": "consul",
    "etcd": "etcd",
    "shared_etcd": "etcd",
    "etcd_server": "etcd",
    "shared_etcd34": "etcd34",
    "etcd34_server": "etcd34",
    "etcd_cluster": "etcd",
    "zookeeper": "zookeeper",
    "shared_zookeeper": "zookeeper",
    "zookeeper_server": "zookeeper",
    "zookeeper_cluster": "zookeeper",
    "redis": "redis",
    "redis_server": "redis",
}
"""The fixtures that start something, and what has to be there for it."""

_servers: dict[str, Server | ProvisionError] = {}


def wanted_by(item: pytest.Item) -> set[str]:
    """The servers of the fixtures that a test asks for, and the one its parameter `kind` names."""
    names = {_SERVER_OF[name] for name in getattr(item, "fixturenames", ()) if name in _SERVER_OF}
    callspec = getattr(item, "callspec", None)
    kind = callspec.params.get("kind") if callspec else None
    return names | {kind} if kind in SERVERS else names


def get_ready(names: Iterable[str]) -> None:
    """Find or fetch servers; what cannot be had is told to the tests that need it."""
    for name in sorted(set(names) - _servers.keys()):
        try:
            _servers[name] = locate(name)
        except ProvisionError as error:
            _servers[name] = error


def found(name: str) -> Server:
    """Where a server is; fails the test that asks if it is not to be had."""
    get_ready([name])
    server = _servers[name]
    if isinstance(server, ProvisionError):
        pytest.fail(f"{name} is not to be had: {server}", pytrace=False)
    return server
