"""Fixtures of the servers of Redis and Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.servers.fixture_tools import factory, started
from tests.support.servers.redis import RedisServer
from tests.support.servers.requirements import found

__all__ = ["RedisFactory", "redis", "redis_server", "shared_redis", "shared_valkey"]


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share; they use keys of their own and leave it running."""
    with started(RedisServer(found("redis"), tmp_path_factory.mktemp("redis"))) as running:
        yield running


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey that all tests share."""
    with started(RedisServer(found("valkey"), tmp_path_factory.mktemp("valkey"))) as running:
        yield running


class RedisFactory(Protocol):
    """Starts a server; the arguments are those of `RedisServer`, and ``redis`` or ``valkey``."""

    def __call__(
        self,
        *,
        release: str = "redis",
        password: str = "",
        tls: bool | str = False,
        settings: dict[str, object] | None = None,
        env: dict[str, str] | None = None,
    ) -> RedisServer: ...


@pytest.fixture
def redis_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RedisFactory]:
    """Start Redis servers of the test's own, which it may stop, kill, freeze and restart."""
    yield from factory(request, tmp_path, "redis", RedisServer)


@pytest.fixture
def redis(redis_server: RedisFactory) -> RedisServer:
    """A Redis server of the test's own."""
    return redis_server()
