"""etcd:// keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Lab, StoreContract
from tests.servers.etcd import Etcd


class TestEtcd(StoreContract, ElectionContract, capabilities=Capability):
    """A server that all cases share."""

    @pytest.fixture
    def lab(self, shared_etcd: Etcd) -> Iterator[Lab]:
        """Below a prefix; etcd takes a request of 1.5 MiB."""
        with Lab(f"{shared_etcd.url}/some/prefix", ttl=2.0, max_value=1 << 20) as lab:
            yield lab
