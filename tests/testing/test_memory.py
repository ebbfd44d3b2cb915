"""memory:// keeps the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from leadership_core.memory import MemoryStore
from leadership_core.testing import ElectionContract, Lab, StoreContract


class TestMemory(
    StoreContract, ElectionContract, capabilities=MemoryStore.capabilities, outages=()
):
    """The reference."""

    @pytest.fixture
    def lab(self) -> Iterator[Lab]:
        """A store with a prefix."""
        with Lab(f"memory://{uuid.uuid4().hex}/some/prefix", ttl=1.0, max_value=1 << 20) as lab:
            yield lab
