"""The contract on ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from leadership_core import Capability, StoreURL
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.zookeeper import ZooKeeper


class TestZooKeeper(
    StoreContract, ElectionContract, capabilities=set(Capability) - {Capability.BOUND_COMPARISONS}
):
    """All cases share one server."""

    @pytest.fixture
    def sandbox(self, shared_zookeeper: ZooKeeper) -> Iterator[Sandbox]:
        """Each case has its own chroot; ZooKeeper takes packets of up to 1 MiB."""
        url = replace(StoreURL.parse(shared_zookeeper.url), path="some/chroot")
        with Sandbox(url, ttl=2.0, max_value=1000 * 1024) as sandbox:
            yield sandbox
