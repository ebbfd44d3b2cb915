"""etcd:// keeps the contract on the other releases, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.fixtures_shared import Shared
from tests.servers.releases import others


@pytest.mark.parametrize("kind", others("etcd"))
class TestOtherReleases(StoreContract, ElectionContract, capabilities=Capability):
    """A server of each that all cases share."""

    @pytest.fixture
    def lab(self, kind: str, shared_server: Shared) -> Iterator[Lab]:
        """Below a prefix; etcd takes a request of 1.5 MiB."""
        with Lab(f"{shared_server(kind).url}/some/prefix", ttl=2.0, max_value=1 << 20) as lab:
            yield lab
