"""The contract of `leadership`, on the Redis at $REDIS_URL: run ``pytest``."""

import os
from collections.abc import Iterator

import pytest

from leadership_core.testing import ElectionContract, Lab, StoreContract

CAPABILITIES = {"sessions", "global_revision", "fenced_writes", "bound_comparisons"}


class TestRedis(StoreContract, ElectionContract, capabilities=CAPABILITIES):
    """All that a store promises; each test with connections and keys of its own."""

    @pytest.fixture
    def lab(self) -> Iterator[Lab]:
        with Lab(os.environ.get("REDIS_URL", "redis://localhost"), ttl=1.0) as lab:
            yield lab
