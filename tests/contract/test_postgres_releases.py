"""The contract on other releases of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.fixtures import Shared
from tests.support.servers.releases import others


@pytest.mark.soak
@pytest.mark.parametrize("kind", others("postgres"))
class TestOtherReleases(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server of each release."""

    @pytest.fixture
    def sandbox(self, kind: str, shared_server: Shared) -> Iterator[Sandbox]:
        """Each case has its own prefix."""
        url = f"{shared_server(kind).url}?prefix=some/prefix"
        with Sandbox(url, ttl=2.0, max_value=1 << 20) as sandbox:
            yield sandbox
