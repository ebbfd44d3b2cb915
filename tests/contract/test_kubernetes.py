"""The contract on Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.servers.kubernetes import Kubernetes


class TestKubernetes(StoreContract, ElectionContract, capabilities={Capability.GLOBAL_REVISION}):
    """All cases share one cluster; entries and elections are Leases, and no entry ends with a session."""

    @pytest.fixture
    def sandbox(self, shared_kubernetes: Kubernetes) -> Iterator[Sandbox]:
        """Each case has its own prefix; a value is in an annotation, which has 256 KiB at most."""
        url = shared_kubernetes.url.replace("/default?", "/default/some/prefix?")
        with Sandbox(url, ttl=2.0, max_value=1 << 17) as sandbox:
            yield sandbox
