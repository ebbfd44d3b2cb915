"""sqlite:/// keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership_core.sqlite import SqliteStore
from leadership_core.testing import ElectionContract, Lab, Outage, StoreContract


class TestSqlite(
    StoreContract,
    ElectionContract,
    capabilities=SqliteStore.capabilities,
    outages={Outage.FREEZE},
):
    """The embedded store, in a file."""

    @pytest.fixture
    def lab(self, quick_folder: Path) -> Iterator[Lab]:
        """A database of the case's own; it is frozen by a transaction that does not end."""
        file = quick_folder / "contract.db"
        with closing(sqlite3.connect(file, check_same_thread=False)) as other:
            other.isolation_level = None

            def resume() -> None:
                if other.in_transaction:
                    other.execute("ROLLBACK")

            with Lab(
                f"sqlite:///{file}",
                ttl=1.5,
                max_value=1 << 20,
                freeze=lambda: other.execute("BEGIN IMMEDIATE"),
                resume=resume,
            ) as lab:
                yield lab
