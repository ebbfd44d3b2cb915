"""Stores of load tests: a file, one server or three, without a test around them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from tests.support.backends import ALL, TIMES
from tests.support.servers.consul import ConsulAgent
from tests.support.servers.consul_cluster import ConsulCluster
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.provision import locate
from tests.support.servers.redis import RedisServer
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster

__all__ = ["LOADED", "ROOMY", "LoadedStore", "running"]

LOADED = (*ALL, "postgres", "redis")
"""The stores that are loaded. The last two have one server, however many are asked for."""

ROOMY = {"limits": {"http_max_conns_per_client": 10_000}}
"""Configuration of a Consul whose clients all have one address, which is granted 200 connections by default."""


@dataclass
class LoadedStore:
    """A store under load.

    Attributes:
        kind: of the store.
        url: of all servers, or of the file.
        nodes: the servers; none for a file.
    """

    kind: str
    url: str
    nodes: list[Any] = field(default_factory=list)

    def url_through(self, ports: list[int]) -> str:
        """The URL with these ports in place of those of the servers; that of a file stays."""
        return str(self.nodes[0].url_at(*ports)) if self.nodes else self.url

    def recovery(self, ttl: float) -> float:
        """The longest time in seconds until an election has a leader again, as for the fault lab."""
        return TIMES[self.kind].leases * ttl + 5.0

    def pids(self) -> list[int]:
        """The processes of the servers, and their children: PostgreSQL has one for each client."""
        found = [node.process.pid for node in self.nodes if node.process.alive]
        for pid in list(found):
            with suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found += map(int, children)
        return found


@contextmanager
def running(kind: str, *, nodes: int = 3, tick: float = 2.0) -> Iterator[LoadedStore]:
    """Start a store; it is removed at the end.

    Args:
        kind: of the store; that of a file has no servers.
        nodes: one server, or a cluster of three; see `LOADED`.
        tick: of ZooKeeper, in seconds.
    """
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="load-", dir=place) as name:
        folder = Path(name)
        if kind == "sqlite":
            yield LoadedStore(kind, f"sqlite:///{folder}/elections.db")
            return
        started = _made(kind, folder, nodes, tick)
        try:
            started.start()
            servers = getattr(started, "nodes", [started])
            if kind == "zookeeper":
                _make_folder(servers[0])
            yield LoadedStore(kind, started.url, servers)
        finally:
            started.remove()


def _made(kind: str, folder: Path, nodes: int, tick: float) -> Any:
    server = locate(kind)
    if kind == "etcd":
        cluster = nodes > 1
        return EtcdCluster(server, folder, direct=True) if cluster else EtcdServer(server, folder)
    if kind == "consul":
        if nodes > 1:
            return ConsulCluster(server, folder, direct=True, config=ROOMY)
        return ConsulAgent(server, folder, config=ROOMY)
    if kind == "postgres":
        return PostgresServer(server, folder)
    if kind == "redis":
        return RedisServer(server, folder)
    if nodes > 1:
        settings = {"tickTime": int(tick * 1000)}
        return ZooKeeperCluster(server, folder, settings=settings, direct=True)
    return ZooKeeperServer(server, folder, tick=tick)


def _make_folder(server: ZooKeeperServer) -> None:
    client = KazooClient(f"{server.host}:{server.port}")
    client.start(20)
    try:
        client.ensure_path("/load")
    finally:
        client.stop()
        client.close()
