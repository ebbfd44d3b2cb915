"""Fixtures: Redis servers, and stores of the example in the working tree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from examples.leadership_example.leadership_example import RedisStore
from leadership_core import Store, StoreURL
from tests.support.servers.redis import RedisServer
from tests.support.servers.requirements import found


class ExampleServer(RedisServer):
    """A Redis whose URL is that of the example."""

    def url_at(self, *ports: int, user: str = "", password: str = "") -> str:
        return (
            super()
            .url_at(*ports, user=user, password=password)
            .replace("redis", "redis-example", 1)
        )


class RedisFactory(Protocol):
    """Starts a server; takes the arguments of `RedisServer`."""

    def __call__(self, *, password: str = "", tls: bool = False) -> RedisServer: ...


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisFactory]:
    """Start Redis servers for this test, which may stop, kill, freeze and restart them."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            server = ExampleServer(found("redis"), tmp_path / f"redis-{next(numbers)}", **options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def redis(redis_server: RedisFactory) -> RedisServer:
    """Start a Redis for this test."""
    return redis_server()


Opener = Callable[[str], Store]
"""Opens the store of a URL as a user does; the plugin need not be installed."""


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open stores, which are closed at the end of the test."""
    with ExitStack() as stack:

        def open_one(url: str) -> Store:
            parsed = StoreURL.parse(url)
            return stack.enter_context(Store(RedisStore(parsed), str(parsed)))

        yield open_one
