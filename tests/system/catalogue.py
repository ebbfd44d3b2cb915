"""Catalogue of the faults by number, and the decorator that makes a test one of their scenarios."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

from tests.support.servers.releases import others

__all__ = [
    "ALL",
    "EVERY",
    "FAULTS",
    "ONE_SERVER",
    "QUICK",
    "SERVERS",
    "SERVERS_WITH_SESSIONS",
    "WITH_SESSIONS",
    "scenario",
]

_Test = TypeVar("_Test", bound=Callable[..., Any])

SERVERS = ("consul", "etcd", "zookeeper")
ALL = ("sqlite", *SERVERS)
ONE_SERVER = (*SERVERS, "postgres", "redis", "kubernetes")
EVERY = ("sqlite", *ONE_SERVER)
"""The stores whose faults of links, processes and a single server have scenarios.

PostgreSQL, Redis and Kubernetes have no scenarios of clusters, for they elect nothing themselves (`test_failover.py` in
`tests/integration/postgres` and `tests/integration/redis` has their failover, and the etcd of Kubernetes has its own scenarios),
and none that need a proxy which reads their protocol.
"""

WITH_SESSIONS = tuple(kind for kind in EVERY if kind != "kubernetes")
"""Those that have sessions at the server, and entries whose writes are fenced; a cluster has Leases alone."""

SERVERS_WITH_SESSIONS = tuple(kind for kind in WITH_SESSIONS if kind != "sqlite")
"""Those of them that are servers."""

QUICK = tuple(kind for kind in ONE_SERVER if kind != "kubernetes")
"""Those that have the longer scenarios of a single server in the usual run, too.

An API server takes seconds to start, and `tests/integration/kubernetes/test_faults.py` has some of these faults.
"""

FAULTS: dict[int, str] = {
    1: "the leader is killed",
    2: "the leader is paused for longer than its lease",
    3: "a candidate is paused between its election and the notification",
    4: "the leader is paused between its check and its write",
    5: "the leader's program blocks its other threads",
    6: "the leader's link loses all packets",
    7: "only answers are lost",
    8: "only requests are lost",
    9: "a half-open link: connections are gone without notice",
    10: "resets, refused connections and names that do not resolve",
    11: "a link that is slow, loses packets, or has little bandwidth",
    12: "a renewal arrives late",
    13: "the election was won and the answer was lost",
    14: "the release was applied and its answer was lost, or it never arrived",
    15: "the store is killed and comes back with its data",
    16: "the store comes back without its data",
    17: "servers of a cluster are killed or stopped, the one that leads it first",
    18: "a candidate uses a server that is cut off from the others",
    19: "an operator deletes or overwrites what the leader holds",
    20: "a waiting candidate loses its session, then the leader resigns",
    21: "the leader dies while the session of the next candidate ends",
    22: "compaction, and watches that the server cancels",
    23: "Consul and etcd: indexes that go back, lock delay, tokens revoked, 500 for seconds",
    24: "ZooKeeper: sessions that end during a reconnect, lost answers to create, parents removed",
    25: "the wall clock jumps, and the machine is suspended",
    26: "rolling restarts, and many candidates that start at once",
    27: "resigning and stopping repeatedly, concurrently and in each state",
    28: "a callback of the program raises, hangs, or resigns",
    29: "fork, signals, and the end of the interpreter",
    30: "two candidates of the same name, and a clock that runs faster",
    31: "the store's disk is slow",
    32: "the server grants another ttl than the requested one",
    33: "the process runs out of descriptors or memory",
    34: "the server is overloaded and rejects requests",
}
"""The faults by number; each has at least one scenario."""


def scenario(
    number: int,
    *,
    on: Iterable[str],
    quick: Iterable[str] = (),
    releases: bool = False,
    seconds: float = 120.0,
) -> Callable[[_Test], _Test]:
    """Make a test a scenario, which runs once on each kind of store.

    Args:
        number: of the fault.
        on: the kinds of stores that it applies to.
        quick: those of them that are in the usual run; the others are in `make soak`.
        releases: whether the usual run has it on each release of those servers, too, beside the
            one that the kind stands for (`tests.support.servers.releases`).
        seconds: that it may take at most.
    """
    quick = frozenset(quick)
    kinds: list[Any] = [
        kind if kind in quick else pytest.param(kind, marks=pytest.mark.soak) for kind in on
    ]
    if releases:
        kinds += others(*(kind for kind in on if kind in SERVERS))

    def mark(test: _Test) -> _Test:
        assert test.__name__.startswith(f"test_{number:02}_"), "named after the fault"
        for one in (
            pytest.mark.fault(number),
            pytest.mark.parametrize("kind", kinds),
            pytest.mark.timeout(seconds),
        ):
            test = one(test)
        return test

    return mark
