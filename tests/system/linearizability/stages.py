"""The stores of the workloads: three servers or a file, with a link for each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.backends import TIMES, Times
from tests.support.servers.consul_cluster import ConsulCluster
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.process import ServerError
from tests.support.servers.provision import locate
from tests.support.servers.proxy import Proxy
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster

__all__ = ["STORES", "Cluster", "Stage", "staged"]


class Cluster(Protocol):
    """Servers that elect a leader among themselves."""

    nodes: list[Any]

    def start(self) -> None: ...
    def leader(self) -> Any: ...
    def cut_off(self, node: Any, /) -> None: ...
    def heal(self) -> None: ...
    def remove(self) -> None: ...


_CLUSTERS: dict[str, Callable[[Path], Cluster]] = {
    "consul": lambda folder: ConsulCluster(locate("consul"), folder),
    "etcd": lambda folder: EtcdCluster(locate("etcd"), folder),
    "zookeeper": lambda folder: ZooKeeperCluster(locate("zookeeper"), folder),
}

STORES = ("sqlite", *_CLUSTERS)

_SLACK = {"etcd": 0.05}
"""Seconds; an etcd of 3.5 that stood still ends leases too early, see docs/guarantees.md."""


@dataclass(frozen=True)
class Stage:
    """A store and the links to it.

    Attributes:
        kind: of the store.
        times: what may be expected of it.
        cluster: its servers, if it has any.
        ways: for each process, a URL and the proxies that it goes through.
        atomic_lists: whether it lists a tree, and deletes one, in one step.
        slack: seconds by which it may end leases before their time.
        ends_leases_on_resume: whether a server that was stopped may end any lease when it continues.
    """

    kind: str
    times: Times
    cluster: Cluster | None
    ways: Sequence[tuple[str, Sequence[Proxy]]]
    atomic_lists: bool
    slack: float
    ends_leases_on_resume: bool


@contextmanager
def staged(kind: str, folder: Path, processes: int) -> Iterator[Stage]:
    """Start a store of that kind, with its data in the folder."""
    with ExitStack() as stack:
        cluster: Cluster | None = None
        ways: list[tuple[str, Sequence[Proxy]]]
        if kind == "sqlite":
            ways = [(f"sqlite:///{folder}/histories.db", ())] * processes
        else:
            cluster = _CLUSTERS[kind](folder)
            stack.callback(cluster.remove)
            cluster.start()
            ways = [_way(cluster.nodes, number, stack) for number in range(processes)]
        yield Stage(
            kind,
            TIMES[kind],
            cluster,
            ways,
            atomic_lists=kind != "zookeeper",
            slack=_SLACK.get(kind, 0.0),
            ends_leases_on_resume=kind == "etcd",  # see docs/guarantees.md
        )


def _way(nodes: list[Any], number: int, stack: ExitStack) -> tuple[str, list[Proxy]]:
    """The first process knows all servers, each other one a single one, maybe an old leader."""
    known = nodes if number == 0 else [nodes[number % len(nodes)]]
    proxies = [stack.enter_context(Proxy(node.port, node.host)) for node in known]
    return nodes[0].url_at(*(one.port for one in proxies)), proxies


def leader_of(cluster: Cluster) -> Any:
    """The leader of the servers now, or None."""
    try:
        return cluster.leader()
    except (ServerError, OSError):
        return None
