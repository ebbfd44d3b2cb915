"""The contract on Redis and on Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.redis import RedisServer


class TestRedis(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server."""

    @pytest.fixture
    def sandbox(self, shared_redis: RedisServer) -> Iterator[Sandbox]:
        """Each case has its own prefix."""
        with Sandbox(f"{shared_redis.url}/some/prefix", ttl=1.5, max_value=1 << 20) as sandbox:
            yield sandbox


class TestValkey(StoreContract, ElectionContract, capabilities=Capability):
    """The same on the server that was forked from Redis."""

    @pytest.fixture
    def sandbox(self, shared_valkey: RedisServer) -> Iterator[Sandbox]:
        """Each case has its own prefix."""
        with Sandbox(f"{shared_valkey.url}/some/prefix", ttl=1.5, max_value=1 << 20) as sandbox:
            yield sandbox
