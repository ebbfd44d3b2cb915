"""The contract on other releases of ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from leadership_core import Capability, StoreURL
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.fixtures import Shared
from tests.support.servers.releases import others


@pytest.mark.parametrize("kind", others("zookeeper"))
class TestOtherReleases(
    StoreContract, ElectionContract, capabilities=set(Capability) - {Capability.BOUND_COMPARISONS}
):
    """All cases share one server of each release."""

    @pytest.fixture
    def sandbox(self, kind: str, shared_server: Shared) -> Iterator[Sandbox]:
        """Each case has its own chroot; ZooKeeper takes packets of up to 1 MiB."""
        url = replace(StoreURL.parse(shared_server(kind).url), path="some/chroot")
        with Sandbox(url, ttl=2.0, max_value=1000 * 1024) as sandbox:
            yield sandbox
