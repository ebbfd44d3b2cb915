"""Fixtures of the scenarios: a fleet of processes, and places for an election."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.scenarios.fleet import Fleet
from tests.scenarios.places import TIMES, Place, Running
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.fixtures_shared import Shared
from tests.servers.releases import kind_of
from tests.servers.zookeeper import ZooKeeper

__all__ = ["FleetFactory", "OwnServer", "Place", "Report"]


@pytest.fixture
def on_sqlite(quick_folder: Path) -> Place:
    """A database of the test's own."""
    return Place(f"sqlite:///{quick_folder}/elections.db", TIMES["sqlite"])


@pytest.fixture
def on_consul(consul: Consul) -> Place:
    return Place(consul.url, TIMES["consul"])


@pytest.fixture
def on_etcd(shared_etcd: Etcd) -> Place:
    return Place(shared_etcd.url, TIMES["etcd"])


@pytest.fixture
def on_zookeeper(shared_zookeeper: ZooKeeper) -> Place:
    return Place(shared_zookeeper.url, TIMES["zookeeper"])


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest) -> Place:
    """The place of the kind, or of the row, that the test's parameter `kind` names."""
    if kind == kind_of(kind):
        found: Place = request.getfixturevalue(f"on_{kind}")
        return found
    return Place(request.getfixturevalue("shared_server")(kind).url, TIMES[kind])


@pytest.fixture
def shared(kind: str, shared_server: Shared) -> Consul | Etcd | ZooKeeper:
    """The server of that kind that all tests share."""
    found: Consul | Etcd | ZooKeeper = shared_server(kind)
    return found


OwnServer = Callable[..., Running]


@pytest.fixture
def own_server(kind: str, request: pytest.FixtureRequest) -> OwnServer:
    """Start servers of that kind of the test's own, which keep their data while they are down."""
    start: OwnServer = request.getfixturevalue(f"{kind_of(kind)}_server")
    return start


class FleetFactory(Protocol):
    def __call__(self, place: Place | str, key: str = "", ttl: float = 0.0) -> Fleet: ...


@pytest.fixture
def make_fleet(tmp_path: Path, unique_key: str) -> Iterator[FleetFactory]:
    """Make fleets at a place or a URL; what still runs at the end is killed."""
    with ExitStack() as stack:
        fleets: list[Fleet] = []

        def make(place: Place | str, key: str = "", ttl: float = 0.0) -> Fleet:
            url = place.url if isinstance(place, Place) else place
            seconds = ttl or (place.ttl if isinstance(place, Place) else 0.0)
            folder = tmp_path / f"fleet-{len(fleets) + 1}"
            fleets.append(Fleet(folder, url, key or unique_key, seconds))
            stack.callback(fleets[-1].kill)
            return fleets[-1]

        yield make


class Report(Protocol):
    def __call__(self, what: str, seconds: float) -> None: ...


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Report:
    """Say what was measured; pytest -rP or -s shows it."""

    def report(what: str, seconds: float) -> None:
        print(f"{request.node.name}: {what}: {seconds * 1000:.1f} ms")

    return report
