"""The kinds of store that tests run on, with the times to expect of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.support.servers.releases import kind_of, others

__all__ = [
    "ALL",
    "LEAST",
    "SERVERS",
    "TIMES",
    "Running",
    "TargetStore",
    "Times",
    "on_all",
    "on_all_in_soak",
    "on_all_releases",
    "on_clusters",
    "on_server_releases",
    "on_servers",
]

SERVERS = ("consul", "etcd", "zookeeper")
"""The stores that are servers, and that all scenarios run on.

Those of processes, sessions, links and a single server run on PostgreSQL, Redis and Kubernetes, too (`tests/system/catalogue.py`).
"""

LEAST = "least"
"""The scheme of a SQLite file with nothing but what every store must have.

The core then counts the terms of an election in an entry of its own, and there are no fenced writes.
"""

ALL = ("sqlite", *SERVERS)
"""The stores that several processes can share."""

on_all = pytest.mark.parametrize("kind", ALL)
on_all_in_soak = pytest.mark.parametrize(
    "kind", ["sqlite", *(pytest.param(kind, marks=pytest.mark.soak) for kind in SERVERS)]
)
on_servers = pytest.mark.parametrize("kind", SERVERS)
on_all_releases = pytest.mark.parametrize("kind", [*ALL, *others(*SERVERS)])
on_server_releases = pytest.mark.parametrize("kind", [*SERVERS, *others(*SERVERS)])
on_clusters = on_servers


@dataclass(frozen=True)
class Times:
    """The ttl of the tests, and the times that follow from it on one store.

    Attributes:
        ttl: seconds.
        leases: how many ttl a claim outlives its last renewal by.
        late: seconds for which a server may go on with a claim that is over.
    """

    ttl: float
    leases: float
    late: float

    def failover(self, ttl: float = 0.0) -> float:
        """The longest time in seconds from a crash to the next leader."""
        return self.leases * (ttl or self.ttl) + self.late + 0.5

    @property
    def pause(self) -> float:
        """Seconds of a pause that certainly costs the leadership."""
        return self.leases * self.ttl + self.late + 0.5


TIMES = {
    "sqlite": Times(ttl=1.5, leases=1, late=0.0),
    "consul": Times(ttl=2.0, leases=2, late=0.5),
    "etcd": Times(ttl=2.0, leases=1, late=0.5),
    "zookeeper": Times(ttl=2.0, leases=1, late=0.5),
    "postgres": Times(ttl=2.0, leases=1.4, late=0.6),
    # Observed, with two looks and a round trip.
    "redis": Times(ttl=2.0, leases=1.4, late=0.6),
    # The duration of a Lease in whole seconds, observed from the answer that showed the last renewal.
    "kubernetes": Times(ttl=2.0, leases=1.4, late=0.6),
    LEAST: Times(ttl=1.5, leases=1, late=0.2),
}
TIMES |= {name: TIMES[kind_of(name)] for name in others()}


@dataclass(frozen=True)
class TargetStore:
    """A store that an election is held in, and its times."""

    url: str
    times: Times

    @property
    def ttl(self) -> float:
        """Seconds."""
        return self.times.ttl


class Running(Protocol):
    """A running server of any kind."""

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
