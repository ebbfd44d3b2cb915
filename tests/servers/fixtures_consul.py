"""Fixtures that are Consul servers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from tests.servers.consul import Consul, ConsulAgent
from tests.servers.consul_cluster import ConsulCluster
from tests.servers.process import ServerError
from tests.servers.provision import Server
from tests.servers.wanted import asked, found

__all__ = ["ConsulFactory", "consul", "consul_cluster", "consul_server", "usual_consul"]


@pytest.fixture(scope="session")
def consul(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Consul]:
    """A Consul that all tests share; they use keys of their own and leave it running.

    It is the one that $LEADERSHIP_TEST_CONSUL (consul://host:port) names if that accepts sessions
    of 1 s, which takes a `session_ttl_min` in its configuration; otherwise one of our own.
    """
    server = found("consul")
    named = _named(server)
    if named is not None and named.serves_sessions(ttl="1s"):
        yield named
        return
    if named is not None:
        terminal = request.config.get_terminal_writer()
        terminal.line()
        terminal.line(
            "LEADERSHIP_TEST_CONSUL accepts no sessions of 1 s (see session_ttl_min): "
            "tests that need them use a Consul of their own"
        )
    agent = ConsulAgent(server, tmp_path_factory.mktemp("consul"), dev=True)
    try:
        agent.start()
        yield agent
    finally:
        agent.remove()


@pytest.fixture(scope="session")
def usual_consul(request: pytest.FixtureRequest) -> Consul:
    """The Consul of $LEADERSHIP_TEST_CONSUL however it is configured, or the shared one.

    For tests whose sessions have at least the 10 s that every Consul accepts.
    """
    named = _named(found("consul"))
    if named is None:
        shared: Consul = request.getfixturevalue("consul")
        return shared
    return named


def _named(server: Server) -> Consul | None:
    url = os.environ.get("LEADERSHIP_TEST_CONSUL")
    if not url:
        return None
    address = urlsplit(url)
    named = Consul(
        server.paths["consul"],
        address.hostname or "127.0.0.1",
        address.port or 8500,
        token=address.password or "",
    )
    if not named.serves_sessions(ttl="10s"):
        raise ServerError(f"LEADERSHIP_TEST_CONSUL: {named.host}:{named.port} serves no sessions")
    return named


class ConsulFactory(Protocol):
    """Starts an agent; the arguments are those of `ConsulAgent`, and a row of `releases`."""

    def __call__(
        self,
        *,
        dev: bool = False,
        acl: bool = False,
        tls: bool | str = False,
        config: dict[str, Any] | None = None,
        release: str = "consul",
    ) -> ConsulAgent: ...


@pytest.fixture
def consul_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ConsulFactory]:
    """Start Consul servers of the test's own, which it may stop, kill, freeze and restart."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(*, release: str = "", **options: Any) -> ConsulAgent:
            place = found(release or asked(request, "consul"))
            agent = ConsulAgent(place, tmp_path / f"consul-{next(numbers)}", **options)
            stack.callback(agent.remove)
            agent.start()
            return agent

        yield start


@pytest.fixture
def consul_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ConsulCluster]:
    """Three Consul servers of the test's own that elect a leader among themselves."""
    cluster = ConsulCluster(found(asked(request, "consul")), tmp_path / "consul-cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
