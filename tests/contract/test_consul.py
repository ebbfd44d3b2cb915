"""The contract on Consul."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.consul import Consul


class TestConsul(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server."""

    @pytest.fixture
    def sandbox(self, consul: Consul) -> Iterator[Sandbox]:
        """Each case has its own prefix; Consul doubles a ttl, so it is short."""
        with Sandbox(f"{consul.url}/prefix", ttl=1.2, max_value=256 * 1024) as sandbox:
            yield sandbox
