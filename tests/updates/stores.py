"""The stores that processes can share, with a server where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.places import TIMES as _TIMES, Place, Times
from tests.servers.consul import ConsulAgent
from tests.servers.etcd import EtcdServer
from tests.servers.local import LocalServer
from tests.servers.provision import Server, locate
from tests.servers.redis import RedisServer
from tests.servers.zookeeper import ZooKeeperServer

__all__ = ["STORES", "TIMES", "served"]

TIMES = {**_TIMES, "redis": Times(ttl=1.5, leases=1, late=0.2)}

STORES = tuple(TIMES)
"""All of them. On sqlite, and on the Redis of the example plugin, elections are the core's."""

_SERVERS: dict[str, Callable[[Server, Path], LocalServer]] = {
    "consul": lambda server, folder: ConsulAgent(server, folder, dev=True),
    "etcd": EtcdServer,
    "etcd34": EtcdServer,
    "zookeeper": ZooKeeperServer,
    "redis": RedisServer,
}


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Place]:
    """Start a store of that kind, with what it keeps in a folder."""
    if kind == "sqlite":
        yield Place(f"sqlite:///{folder}/elections.db", TIMES[kind])
        return
    server = _SERVERS[kind](locate(kind), folder / kind)
    try:
        server.start()
        yield Place(server.url, TIMES[kind])  # type: ignore[attr-defined]
    finally:
        server.remove()
