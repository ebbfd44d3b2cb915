"""Fixtures of the scenarios: a fleet of processes, and places for an election."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.scenarios.fleet import Fleet
from tests.servers.consul import Consul


@dataclass(frozen=True)
class Place:
    """A store for an election, and what may be expected of it.

    Attributes:
        url: where.
        ttl: seconds; short, so that tests are.
        failover: seconds from a crash to the next leader, at most.
        pause: seconds of a pause after which another one surely leads.
    """

    url: str
    ttl: float
    failover: float
    pause: float


@pytest.fixture
def on_sqlite(quick_folder: Path) -> Place:
    """A database of the test's own."""
    return Place(f"sqlite:///{quick_folder}/elections.db", ttl=1.5, failover=2.0, pause=2.5)


@pytest.fixture
def on_consul(consul: Consul) -> Place:
    return Place(consul.url, ttl=2.0, failover=5.0, pause=5.0)


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
