"""Where elections are held, and what may be expected of each store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pytest

__all__ = [
    "ALL",
    "SERVERS",
    "TIMES",
    "Place",
    "Running",
    "Times",
    "on_all",
    "on_all_and_the_old",
    "on_clusters",
    "on_servers",
    "on_servers_and_the_old",
]

SERVERS = ("consul", "etcd", "zookeeper")
"""The stores that are servers."""

ALL = ("sqlite", *SERVERS)
"""The stores that several processes can share."""

_OLD = "etcd34"  # etcd 3.4, which many still run
_SLOWLY = pytest.param(_OLD, marks=pytest.mark.soak)

on_all = pytest.mark.parametrize("kind", [*ALL, _SLOWLY])
on_servers = pytest.mark.parametrize("kind", [*SERVERS, _SLOWLY])
on_all_and_the_old = pytest.mark.parametrize("kind", [*ALL, _OLD])
on_servers_and_the_old = pytest.mark.parametrize("kind", [*SERVERS, _OLD])
on_clusters = pytest.mark.parametrize("kind", SERVERS)


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
    "etcd34": Times(ttl=2.0, leases=1, late=0.5),
    "zookeeper": Times(ttl=2.0, leases=1, late=0.5),
}


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
