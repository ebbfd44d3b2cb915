"""The contract on stores whose elections rest on expiry by observation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Capability
from leadership_core.stores.memory import State
from leadership_core.testing import ElectionContract, Sandbox, StoreContract
from tests.support.comparing_store import ComparingStore

pytestmark = pytest.mark.slow


class TestEpochs(StoreContract, ElectionContract, capabilities=(), outages=()):
    """The record counts the terms."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """A sandbox of a store that no URL opens."""
        state = State()
        with Sandbox(lambda: ComparingStore(state), ttl=1.0) as sandbox:
            yield sandbox


class TestRevisions(
    StoreContract, ElectionContract, capabilities={Capability.GLOBAL_REVISION}, outages=()
):
    """The revision of the record is the token."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """A sandbox of a store that no URL opens."""
        state = State()
        with Sandbox(lambda: ComparingStore(state, Capability.GLOBAL_REVISION), ttl=1.0) as sandbox:
            yield sandbox
