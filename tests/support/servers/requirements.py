"""The servers that a test run needs, found or fetched before its first test."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support.servers.provision import SERVERS, ProvisionError, Server, locate
from tests.support.servers.releases import KINDS, MISSING, default, kind_of, newest, on_path, others

__all__ = ["asked", "describe", "found", "get_ready", "wanted_by"]

_SERVER_OF = {
    "consul": "consul",
    "usual_consul": "consul",
    "consul_server": "consul",
    "consul_cluster": "consul",
    "etcd": "etcd",
    "shared_etcd": "etcd",
    "etcd_server": "etcd",
    "etcd_cluster": "etcd",
    "zookeeper": "zookeeper",
    "shared_zookeeper": "zookeeper",
    "zookeeper_server": "zookeeper",
    "zookeeper_cluster": "zookeeper",
    "postgres": "postgres",
    "shared_postgres": "postgres",
    "postgres_server": "postgres",
    "pgbouncer": "pgbouncer",
    "kubernetes_server": "kubernetes",
    "shared_kubernetes": "kubernetes",
    "client_go": "leaderelection",
    "redis": "redis",
    "redis_server": "redis",
    "shared_redis": "redis",
    "shared_valkey": "valkey",
    "curator": "curator",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "browser": "chromium",
}
"""The fixtures that start something, and what has to be there for it."""

_servers: dict[str, Server | ProvisionError] = {}


def wanted_by(item: pytest.Item) -> set[str]:
    """The servers that a test needs by its fixtures and parameters."""
    callspec = getattr(item, "callspec", None)
    params = (
        {one for one in callspec.params.values() if isinstance(one, str)} if callspec else set()
    )
    named = params & SERVERS.keys()
    instead = {kind_of(name) for name in named}
    names = {_SERVER_OF[name] for name in getattr(item, "fixturenames", ()) if name in _SERVER_OF}
    return names - instead | named


def asked(request: pytest.FixtureRequest, kind: str) -> str:
    """The row that a test uses for a kind: that of its parameter `kind`, if any."""
    callspec = getattr(request.node, "callspec", None)
    name = callspec.params.get("kind") if callspec else None
    return name if isinstance(name, str) and kind_of(name) == kind else kind


def describe() -> list[str]:
    """The servers of a run, for the header of its report."""
    rows = {kind: default(kind) for kind in KINDS}
    rows_of_run = [
        f"{kind} {row.version if row else 'of this machine'}" for kind, row in rows.items()
    ]
    lines = [
        f"servers: {', '.join(rows_of_run)}; a part of the tests also on {', '.join(others())}"
    ]
    lines += [
        f"  instead of {kind} {newest(kind).version}: {', '.join(on_path(kind).values())}"
        for kind, row in rows.items()
        if row is None
    ]
    lines += [f"  without {name}: {why}" for name, why in MISSING.items()]
    return lines


def get_ready(names: Iterable[str]) -> None:
    """Find or fetch servers; tests that need an unavailable one fail."""
    for name in sorted(set(names) - _servers.keys()):
        try:
            _servers[name] = locate(name)
        except ProvisionError as error:
            _servers[name] = error


def found(name: str) -> Server:
    """Return where a server is; fails the calling test if it is unavailable."""
    get_ready([name])
    server = _servers[name]
    if isinstance(server, ProvisionError):
        pytest.fail(f"{name} is not available: {server}", pytrace=False)
    return server
