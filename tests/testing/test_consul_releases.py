"""consul:// keeps the contract on the other releases, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.fixtures_shared import Shared
from tests.servers.releases import others


@pytest.mark.parametrize("kind", others("consul"))
class TestOtherReleases(StoreContract, ElectionContract, capabilities=Capability):
    """A server of each that all cases share."""

    @pytest.fixture
    def lab(self, kind: str, shared_server: Shared) -> Iterator[Lab]:
        """Below a prefix. Consul counts a ttl twice, so a short one will do."""
        with Lab(f"{shared_server(kind).url}/prefix", ttl=1.2, max_value=256 * 1024) as lab:
            yield lab
