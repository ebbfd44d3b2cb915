"""The contract of `leadership`, on the Redis at $REDIS_URL: run ``pytest``."""

import os
from collections.abc import Iterator

import pytest

from leadership_core.testing import ElectionContract, Sandbox, StoreContract

CAPABILITIES = {"sessions", "global_revision", "fenced_writes", "bound_comparisons"}


class TestRedis(StoreContract, ElectionContract, capabilities=CAPABILITIES):
    """The whole contract; each case has its own connections and keys."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        with Sandbox(os.environ.get("REDIS_URL", "redis-example://localhost"), ttl=1.0) as sandbox:
            yield sandbox
