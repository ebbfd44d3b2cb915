"""The contract on other releases of Consul."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.fixtures import Shared
from tests.support.servers.releases import others


@pytest.mark.parametrize("kind", others("consul"))
class TestOtherReleases(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server of each release."""

    @pytest.fixture
    def sandbox(self, kind: str, shared_server: Shared) -> Iterator[Sandbox]:
        """Each case has its own prefix; Consul doubles a ttl, so it is short."""
        with Sandbox(f"{shared_server(kind).url}/prefix", ttl=1.2, max_value=256 * 1024) as sandbox:
            yield sandbox
