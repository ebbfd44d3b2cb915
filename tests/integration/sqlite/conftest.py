"""Stores of one database file, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core.backend.url import StoreURL
from leadership_core.stores.sqlite import SqliteStore, leadership_open_store
from tests.unit.stores_harness import FakeClock, sqlite_store


def open_sqlite(url: str) -> SqliteStore:
    store = leadership_open_store(StoreURL.parse(url))
    assert store is not None
    return store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def stores(path: Path, clock: FakeClock) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores of one path."""
    one, two = sqlite_store(path, clock), sqlite_store(path, clock)
    yield one, two
    one.close()
    two.close()
