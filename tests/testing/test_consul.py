"""consul:// keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.consul import Consul


class TestConsul(StoreContract, ElectionContract, capabilities=Capability):
    """A server that all cases share."""

    @pytest.fixture
    def lab(self, consul: Consul) -> Iterator[Lab]:
        """Below a prefix. Consul counts a ttl twice, so a short one will do."""
        with Lab(f"{consul.url}/prefix", ttl=1.2, max_value=256 * 1024) as lab:
            yield lab
