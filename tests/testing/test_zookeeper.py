"""zk:// keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from leadership_core import Capability, StoreURL
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.zookeeper import ZooKeeper


class TestZooKeeper(
    StoreContract, ElectionContract, capabilities=set(Capability) - {Capability.BOUND_COMPARISONS}
):
    """A server that all cases share."""

    @pytest.fixture
    def lab(self, shared_zookeeper: ZooKeeper) -> Iterator[Lab]:
        """Below a chroot; ZooKeeper takes a packet of 1 MiB."""
        url = replace(StoreURL.parse(shared_zookeeper.url), path="some/chroot")
        with Lab(url, ttl=2.0, max_value=1000 * 1024) as lab:
            yield lab
