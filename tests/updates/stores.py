"""The stores that processes can share, with a server where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from tests.scenarios.places import TIMES as _TIMES, Place, Times
from tests.servers.consul import ConsulAgent
from tests.servers.etcd import EtcdServer
from tests.servers.provision import Server as Provided, locate
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.servers.releases import kind_of
from tests.servers.zookeeper import ZooKeeperServer
from tests.updates.counters import LEAST
from tests.updates.crew import Link

__all__ = ["STORES", "TIMES", "Server", "linked", "served"]

TIMES = {
    **_TIMES,
    "redis": Times(ttl=1.5, leases=1, late=0.2),
    LEAST: Times(ttl=1.5, leases=1, late=0.2),
}

STORES = tuple(TIMES)
"""All of them. On sqlite, on the Redis of the example plugin and on `LEAST` elections are the core's."""

_FILES = {"sqlite", LEAST}


class Server(Protocol):
    """One that is ours."""

    port: int

    @property
    def url(self) -> str: ...
    def url_at(self, port: int, /) -> str: ...
    def start(self) -> None: ...
    def remove(self) -> None: ...


_SERVERS: dict[str, Callable[[Provided, Path], Server]] = {
    "consul": lambda server, folder: ConsulAgent(server, folder, dev=True),
    "etcd": EtcdServer,
    "zookeeper": ZooKeeperServer,
    "redis": RedisServer,
}


@contextmanager
def served(kind: str, folder: Path) -> Iterator[tuple[Place, Server | None]]:
    """Start a store of that kind, with what it keeps in a folder; its server, if it has one."""
    if kind in _FILES:
        yield Place(f"{kind}:///{folder}/elections.db", TIMES[kind]), None
        return
    server = _SERVERS[kind_of(kind)](locate(kind), folder / kind)
    try:
        server.start()
        yield Place(server.url, TIMES[kind]), server
    finally:
        server.remove()


@contextmanager
def linked(server: Server | None, count: int) -> Iterator[list[Link | None]]:
    """Put that many proxies before a server; without one, there is no link to cut."""
    if server is None:
        yield [None] * count
        return
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(server.port)) for _ in range(count)]
        yield [Link(server.url_at(proxy.port), proxy) for proxy in proxies]
