"""The contract on `sqlite:///`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership_core.stores.sqlite import SqliteStore
from leadership_core.testing import ElectionContract, Outage, Sandbox, StoreContract


class TestSqlite(
    StoreContract,
    ElectionContract,
    capabilities=SqliteStore.capabilities,
    outages={Outage.FREEZE},
):
    """An embedded store in a file."""

    @pytest.fixture
    def sandbox(self, quick_folder: Path) -> Iterator[Sandbox]:
        """Each case has its own database, which a transaction without an end freezes."""
        file = quick_folder / "contract.db"
        with closing(sqlite3.connect(file, check_same_thread=False)) as other:
            other.isolation_level = None

            def resume() -> None:
                if other.in_transaction:
                    other.execute("ROLLBACK")

            with Sandbox(
                f"sqlite:///{file}",
                ttl=1.5,
                max_value=1 << 20,
                freeze=lambda: other.execute("BEGIN IMMEDIATE"),
                resume=resume,
            ) as sandbox:
                yield sandbox
