"""What every test can ask for: real servers, a link that can be cut, a key of its own.

A test that asks for a server is marked `server`. A server that cannot be had fails the tests
that need it; it never makes them disappear.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

import pytest

from leadership_core.engine.open_store import open_stores
from tests.support import inherited_state, process_guard
from tests.support.internals import product_threads
from tests.support.servers.fixtures import (
    ConsulFactory,
    EtcdFactory,
    ZooKeeperFactory,
    consul,
    consul_cluster,
    consul_server,
    etcd,
    etcd_cluster,
    etcd_server,
    fake_time,
    shared_etcd,
    shared_server,
    shared_zookeeper,
    usual_consul,
    zookeeper,
    zookeeper_cluster,
    zookeeper_server,
)
from tests.support.servers.kubernetes_fixtures import (
    KubernetesFactory,
    kubernetes_server,
    shared_kubernetes,
)
from tests.support.servers.postgres_fixtures import (
    PostgresFactory,
    pgbouncer,
    postgres,
    postgres_server,
    shared_postgres,
)
from tests.support.servers.process import Process
from tests.support.servers.proxy import Proxy
from tests.support.servers.redis_fixtures import (
    RedisFactory,
    redis,
    redis_server,
    shared_redis,
    shared_valkey,
)
from tests.support.servers.requirements import describe, get_ready, wanted_by

__all__ = [
    "ConsulFactory",
    "EtcdFactory",
    "KubernetesFactory",
    "PostgresFactory",
    "ProxyFactory",
    "RedisFactory",
    "ZooKeeperFactory",
    "consul",
    "consul_cluster",
    "consul_server",
    "etcd",
    "etcd_cluster",
    "etcd_server",
    "fake_time",
    "kubernetes_server",
    "pgbouncer",
    "postgres",
    "postgres_server",
    "redis",
    "redis_server",
    "shared_etcd",
    "shared_kubernetes",
    "shared_postgres",
    "shared_redis",
    "shared_server",
    "shared_valkey",
    "shared_zookeeper",
    "usual_consul",
    "zookeeper",
    "zookeeper_cluster",
    "zookeeper_server",
]


inherited_state.reset()
process_guard.start_watchdog()


def pytest_configure() -> None:
    """Let hypothesis decide about no test by how quick the machine is."""
    # Only here: `python -m tests.system` imports this module before it starts pytest, which wants to
    # be the first that imports the plugin of hypothesis.
    from hypothesis import HealthCheck, settings

    settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")


def pytest_report_header() -> list[str]:
    return describe()


_SHORT = (Path(__file__).parent / "fuzz", Path(__file__).parent / "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if wanted_by(item):
            item.add_marker(pytest.mark.server)
    # The folders with short files come last, so that the workers of pytest-xdist end together.
    items.sort(key=lambda item: any(folder in item.path.parents for folder in _SHORT))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Now, because fetching one may take longer than a test may.
    if not session.config.option.collectonly:
        get_ready(name for item in session.items for name in wanted_by(item))


# -- threads ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread of ours behind; it has 2 s to end.

    The stores that it has left open are closed, or their threads would run on in the next tests.
    """
    threads_before, stores_before = set(threading.enumerate()), set(open_stores)
    yield
    deadline = time.monotonic() + 2.0
    while left := product_threads() - threads_before:
        if time.monotonic() > deadline:
            for opened in set(open_stores) - stores_before:
                opened.close(1.0)
            pytest.fail(f"threads left running: {sorted(t.name for t in left)}", pytrace=False)
        time.sleep(0.01)


# -- processes ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Kill what a test leaves running, and fail the test for it.

    The servers that several tests share are not counted: a fixture ends them later.
    """
    before = process_guard.children()
    yield
    deadline = time.monotonic() + 2.0
    while left := process_guard.children() - before - Process.running():
        if time.monotonic() > deadline:
            said = sorted(f"{pid} {process_guard.command_of(pid)}" for pid in left)
            process_guard.kill(left)
            pytest.fail(f"processes left running: {said}", pytrace=False)
        time.sleep(0.01)


# -- everything else --------------------------------------------------------------------------


class ProxyFactory(Protocol):
    """Starts a proxy before a port."""

    def __call__(self, port: int, host: str = "127.0.0.1") -> Proxy: ...


@pytest.fixture
def proxy() -> Iterator[ProxyFactory]:
    """Put proxies before servers, to cut, slow down or reset the connections through them."""
    with ExitStack() as stack:

        def start(port: int, host: str = "127.0.0.1") -> Proxy:
            return stack.enter_context(Proxy(port, host))

        yield start


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a thing, for databases.

    A commit waits for the disk, and that of a virtual machine may take seconds over it when
    the processors are busy: no candidate is elected meanwhile, which is correct and would fail tests.
    """
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path
    # Not a TemporaryDirectory, which every forked child that ends would remove.
    folder = Path(mkdtemp(dir=place, prefix="leadership-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unique_key(request: pytest.FixtureRequest) -> str:
    """A key that no other test uses, nor this one in another run."""
    name = re.sub(r"\W+", "-", request.node.name, flags=re.ASCII).strip("-")[:60]
    return f"test/{name}/{uuid.uuid4().hex[:8]}"
