"""zk:// keeps the contract on the other releases, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from leadership_core import Capability, StoreURL
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.fixtures_shared import Shared
from tests.servers.releases import others


@pytest.mark.parametrize("kind", others("zookeeper"))
class TestOtherReleases(
    StoreContract, ElectionContract, capabilities=set(Capability) - {Capability.BOUND_COMPARISONS}
):
    """A server of each that all cases share."""

    @pytest.fixture
    def lab(self, kind: str, shared_server: Shared) -> Iterator[Lab]:
        """Below a chroot; ZooKeeper takes a packet of 1 MiB."""
        url = replace(StoreURL.parse(shared_server(kind).url), path="some/chroot")
        with Lab(url, ttl=2.0, max_value=1000 * 1024) as lab:
            yield lab
