"""What the fixtures of all kinds of server have in common."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kazoo.client import KazooClient

from tests.support.servers.cluster import Cluster
from tests.support.servers.provision import Server
from tests.support.servers.requirements import asked, found
from tests.support.servers.zookeeper import ZooKeeperServer

__all__ = ["cluster", "factory", "named_or_own", "started"]

_Server = TypeVar("_Server", bound=Any)
_Cluster = TypeVar("_Cluster", bound=Cluster[Any])


@contextmanager
def started(own: _Server) -> Iterator[_Server]:
    """Start a server, and remove it at the end."""
    try:
        own.start()
        if isinstance(own, ZooKeeperServer):
            # The folder of all keys of tests: the first client that needs it would own it.
            client = KazooClient(f"{own.host}:{own.port}")
            client.start(10)
            try:
                client.create("/test")
            finally:
                client.stop()
                client.close()
        yield own
    finally:
        own.remove()


@contextmanager
def named_or_own(
    request: pytest.FixtureRequest,
    named: _Server | None,
    suits: Callable[[_Server], object],
    lacks: str,
    own: Callable[[], _Server],
) -> Iterator[_Server]:
    """The server that the environment names if it suits all tests, or one started here."""
    if named is not None and suits(named):
        yield named
        return
    if named is not None:
        terminal = request.config.get_terminal_writer()
        terminal.line()
        terminal.line(f"{lacks}: tests that need them use a server of their own")
    with started(own()) as server:
        yield server


def factory(
    request: pytest.FixtureRequest,
    folder: Path,
    kind: str,
    make: Callable[..., _Server],
) -> Iterator[Callable[..., _Server]]:
    """A function that starts servers of a kind, which are removed at the end."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(*, release: str = "", **options: Any) -> _Server:
            place = found(release or asked(request, kind))
            server = make(place, folder / f"{kind}-{next(numbers)}", **options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


def cluster(
    request: pytest.FixtureRequest,
    folder: Path,
    kind: str,
    make: Callable[[Server, Path], _Cluster],
) -> Iterator[_Cluster]:
    """Three servers of the test's own that elect a leader among themselves."""
    own = make(found(asked(request, kind)), folder / f"{kind}-cluster")
    try:
        own.start()
        yield own
    finally:
        own.remove()
