"""Where elections are held, and what may be expected of each store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.servers.releases import kind_of, others

__all__ = [
    "ALL",
    "SERVERS",
    "TIMES",
    "Place",
    "Running",
    "Times",
    "on_all",
    "on_all_releases",
    "on_clusters",
    "on_server_releases",
    "on_servers",
]

SERVERS = ("consul", "etcd", "zookeeper")
"""The stores that are servers."""

ALL = ("sqlite", *SERVERS)
"""The stores that several processes can share."""

on_all = pytest.mark.parametrize("kind", ALL)
on_servers = pytest.mark.parametrize("kind", SERVERS)
on_all_releases = pytest.mark.parametrize("kind", [*ALL, *others()])
on_server_releases = pytest.mark.parametrize("kind", [*SERVERS, *others()])
on_clusters = on_servers


@dataclass(frozen=True)
class Times:
    """Short ones, because tests are, and what may be expected then.

    Attributes:
        ttl: seconds.
        leases: how many ttl a claim outlives its last renewal by.
        late: seconds for which a server may go on with a claim that is over.
    """

    ttl: float
    leases: float
    late: float

    def failover(self, ttl: float = 0.0) -> float:
        """Seconds from a crash to the next leader, at most."""
        return self.leases * (ttl or self.ttl) + self.late + 0.5

    @property
    def pause(self) -> float:
        """Seconds of a pause after which another one surely leads."""
        return self.leases * self.ttl + self.late + 0.5


TIMES = {
    "sqlite": Times(ttl=1.5, leases=1, late=0.0),
    "consul": Times(ttl=2.0, leases=2, late=0.5),
    "etcd": Times(ttl=2.0, leases=1, late=0.5),
    "zookeeper": Times(ttl=2.0, leases=1, late=0.5),
}
TIMES |= {name: TIMES[kind_of(name)] for name in others()}


@dataclass(frozen=True)
class Place:
    """A store for an election, and what may be expected of it."""

    url: str
    times: Times

    @property
    def ttl(self) -> float:
        """Seconds."""
        return self.times.ttl


class Running(Protocol):
    """A server of a test's own, of whatever kind."""

    port: int

    @property
    def url(self) -> str: ...
    def url_at(self, *ports: int) -> str: ...
    def start(self, *, wait: bool = True) -> None: ...
    def wait_ready(self, seconds: float = 30.0) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
