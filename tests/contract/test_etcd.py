"""The contract on etcd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.etcd import Etcd


class TestEtcd(StoreContract, ElectionContract, capabilities=Capability):
    """All cases share one server."""

    @pytest.fixture
    def sandbox(self, shared_etcd: Etcd) -> Iterator[Sandbox]:
        """Each case has its own prefix; etcd takes requests of up to 1.5 MiB."""
        with Sandbox(f"{shared_etcd.url}/some/prefix", ttl=2.0, max_value=1 << 20) as sandbox:
            yield sandbox
