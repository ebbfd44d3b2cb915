"""Fixtures of the scenarios: testbeds, fleets of candidate processes, and stores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.backends import LEAST, TIMES, Running, TargetStore
from tests.support.recording import now
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.fixtures import Shared
from tests.support.servers.kubernetes import Kubernetes
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.releases import KINDS, kind_of
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.testbed import Testbed
from tests.support.workers import Fleet
from tests.system.increments import IncrementFleet, Link
from tests.system.report import write_page
from tests.system.run_record import folder_of, keep
from tests.system.updates import MEMBERS, Server, linked

__all__ = [
    "FleetFactory",
    "OwnServer",
    "Report",
    "TargetStore",
    "Testbed",
    "on_consul",
    "on_etcd",
    "on_kubernetes",
    "on_postgres",
    "on_sqlite",
    "on_zookeeper",
]


@pytest.fixture
def on_sqlite(quick_folder: Path) -> TargetStore:
    """A new database for each test."""
    return TargetStore(f"sqlite:///{quick_folder}/elections.db", TIMES["sqlite"])


@pytest.fixture
def on_consul(consul: Consul) -> TargetStore:
    return TargetStore(consul.url, TIMES["consul"])


@pytest.fixture
def on_etcd(shared_etcd: Etcd) -> TargetStore:
    return TargetStore(shared_etcd.url, TIMES["etcd"])


@pytest.fixture
def on_zookeeper(shared_zookeeper: ZooKeeper) -> TargetStore:
    return TargetStore(shared_zookeeper.url, TIMES["zookeeper"])


@pytest.fixture
def on_kubernetes(shared_kubernetes: Kubernetes) -> TargetStore:
    return TargetStore(shared_kubernetes.url, TIMES["kubernetes"])


@pytest.fixture
def on_postgres(shared_postgres: PostgresServer) -> TargetStore:
    return TargetStore(shared_postgres.url, TIMES["postgres"])


@pytest.fixture
def target(kind: str, request: pytest.FixtureRequest) -> TargetStore:
    """The store of the test's parameter `kind`, which names a kind or a release."""
    if kind == kind_of(kind):
        found: TargetStore = request.getfixturevalue(f"on_{kind}")
        return found
    return TargetStore(request.getfixturevalue("shared_server")(kind).url, TIMES[kind])


@pytest.fixture
def shared(kind: str, shared_server: Shared) -> Consul | Etcd | ZooKeeper:
    """The shared server of that kind."""
    found: Consul | Etcd | ZooKeeper = shared_server(kind)
    return found


OwnServer = Callable[..., Running]


@pytest.fixture
def own_server(kind: str, request: pytest.FixtureRequest) -> OwnServer:
    """Start servers of that kind for one test; they keep their data while they are down."""
    start: OwnServer = request.getfixturevalue(f"{kind_of(kind)}_server")
    return start


class FleetFactory(Protocol):
    def __call__(self, target: TargetStore | str, key: str = "", ttl: float = 0.0) -> Fleet: ...


@pytest.fixture
def make_fleet(tmp_path: Path, unique_key: str) -> Iterator[FleetFactory]:
    """Make fleets on a store or a URL; processes that still run at the end are killed."""
    with ExitStack() as stack:
        fleets: list[Fleet] = []

        def make(target: TargetStore | str, key: str = "", ttl: float = 0.0) -> Fleet:
            url = target.url if isinstance(target, TargetStore) else target
            seconds = ttl or (target.ttl if isinstance(target, TargetStore) else 0.0)
            folder = tmp_path / f"fleet-{len(fleets) + 1}"
            fleets.append(Fleet(folder, url, key or unique_key, seconds))
            stack.callback(fleets[-1].kill)
            return fleets[-1]

        yield make


class Report(Protocol):
    def __call__(self, what: str, seconds: float) -> None: ...


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Report:
    """Print a measurement; pytest -rP or -s shows it."""

    def report(what: str, seconds: float) -> None:
        print(f"{request.node.name}: {what}: {seconds * 1000:.1f} ms")

    return report


_STAND = pytest.StashKey[Testbed]()
_REPORTS = pytest.StashKey[list[pytest.TestReport]]()
_RAN = pytest.StashKey[bool]()


@pytest.fixture
def testbed(
    kind: str, unique_key: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Testbed]:
    """The testbed of one scenario."""
    made = request.node.stash[_STAND] = Testbed(kind, unique_key, tmp_path, request)
    try:
        yield made
        failed = any(one.failed for one in request.node.stash.get(_REPORTS, []))
        assert made._finished or failed, "a scenario ends with finish()"
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the record of a run after its teardown, servers included."""
    report = yield
    testbed = item.stash.get(_STAND, None)
    if testbed is None or item.get_closest_marker("fault") is None:
        return report
    assert isinstance(item, pytest.Function)
    if report.when == "call":
        testbed.closed = now()
    reports = item.stash.setdefault(_REPORTS, [])
    reports.append(report)
    if report.failed:
        report.sections.append(("the fault lab", f"all is kept in {folder_of(item)}"))
    if report.when == "teardown" and not any(one.skipped for one in reports):
        keep(testbed, item, reports)
        item.config.stash[_RAN] = True
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page again. Each process of pytest-xdist does so; the last one has all runs."""
    if session.config.stash.get(_RAN, False):
        write_page()


@pytest.fixture
def on_redis(redis: RedisServer) -> TargetStore:
    return TargetStore(redis.url, TIMES["redis"])


@pytest.fixture
def on_least(quick_folder: Path) -> TargetStore:
    return TargetStore(f"{LEAST}:///{quick_folder}/elections.db", TIMES[LEAST])


@pytest.fixture
def links(kind: str, request: pytest.FixtureRequest) -> Iterator[list[Link | None]]:
    """Links to the store that can be cut, if it has a server."""
    server: Server | None = None
    if kind_of(kind) in KINDS:
        server = request.getfixturevalue("shared_server")(kind)
    elif kind == "redis":
        server = request.getfixturevalue("redis")
    with linked(server, MEMBERS) as ways:
        yield ways


@pytest.fixture
def fleet_with(
    tmp_path: Path, target: TargetStore, unique_key: str
) -> Iterator[Callable[[str], IncrementFleet]]:
    """Make a fleet for each kind of guard; processes that still run at the end are killed."""
    with ExitStack() as stack:

        def make(guard: str) -> IncrementFleet:
            key = f"{unique_key}-{guard}"
            fleet = IncrementFleet(tmp_path / guard, target.url, key, guard, target.ttl)
            stack.callback(fleet.kill)
            return fleet

        yield make
