"""The contract on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.postgres import PostgresServer


class TestPostgres(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server."""

    @pytest.fixture
    def sandbox(self, shared_postgres: PostgresServer) -> Iterator[Sandbox]:
        """Each case has its own prefix; a value may have up to a gigabyte."""
        url = f"{shared_postgres.url}?prefix=some/prefix"
        with Sandbox(url, ttl=2.0, max_value=1 << 20) as sandbox:
            yield sandbox
