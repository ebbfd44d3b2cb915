"""sqlite:/// keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core.sqlite import SqliteStore
from leadership_core.testing import ElectionContract, Lab, StoreContract


class TestSqlite(StoreContract, ElectionContract, capabilities=SqliteStore.capabilities):
    """The embedded store, in a file."""

    @pytest.fixture
    def lab(self, quick_folder: Path) -> Iterator[Lab]:
        """A database of the case's own."""
        with Lab(f"sqlite:///{quick_folder}/contract.db", ttl=1.5, max_value=1 << 20) as lab:
            yield lab
