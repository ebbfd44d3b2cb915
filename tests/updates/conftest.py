"""The stores of these tests: those that all tests share, and a Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.conftest import redis, redis_server
from tests.scenarios.conftest import on_consul, on_etcd, on_sqlite, on_zookeeper
from tests.scenarios.places import Place
from tests.servers.redis import RedisServer
from tests.servers.releases import KINDS, kind_of
from tests.updates.counters import LEAST
from tests.updates.crew import Crew, Link
from tests.updates.run import MEMBERS
from tests.updates.stores import TIMES, Server, linked

__all__ = [
    "on_consul",
    "on_etcd",
    "on_sqlite",
    "on_zookeeper",
    "redis",
    "redis_server",
]


@pytest.fixture
def on_redis(redis: RedisServer) -> Place:
    return Place(redis.url, TIMES["redis"])


@pytest.fixture
def on_least(quick_folder: Path) -> Place:
    return Place(f"{LEAST}:///{quick_folder}/elections.db", TIMES[LEAST])


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest) -> Place:
    """The place of the kind that the test's parameter `kind` names."""
    if kind == kind_of(kind):
        found: Place = request.getfixturevalue(f"on_{kind}")
        return found
    return Place(request.getfixturevalue("shared_server")(kind).url, TIMES[kind])


@pytest.fixture
def links(kind: str, request: pytest.FixtureRequest) -> Iterator[list[Link | None]]:
    """Ways to that place that can be cut, where there are any."""
    server: Server | None = None
    if kind_of(kind) in KINDS:
        server = request.getfixturevalue("shared_server")(kind)
    elif kind == "redis":
        server = request.getfixturevalue("redis")
    with linked(server, MEMBERS) as ways:
        yield ways


@pytest.fixture
def crew_with(tmp_path: Path, place: Place, unique_key: str) -> Iterator[Callable[[str], Crew]]:
    """Make a crew for each guard; what still runs at the end is killed."""
    with ExitStack() as stack:

        def make(guard: str) -> Crew:
            key = f"{unique_key}-{guard}"
            crew = Crew(tmp_path / guard, place.url, key, guard, place.ttl)
            stack.callback(crew.kill)
            return crew

        yield make
