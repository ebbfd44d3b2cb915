"""The contract on `memory://`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from leadership_core.stores.memory import MemoryStore
from leadership_core.testing import ElectionContract, Sandbox, StoreContract


class TestMemory(
    StoreContract, ElectionContract, capabilities=MemoryStore.capabilities, outages=()
):
    """The reference implementation."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """Each case has its own store, with a prefix."""
        with Sandbox(
            f"memory://{uuid.uuid4().hex}/some/prefix", ttl=1.0, max_value=1 << 20
        ) as sandbox:
            yield sandbox
