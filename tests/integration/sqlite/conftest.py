"""Stores of one database file, with a clock that the test sets, and processes that have it open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core.backend.url import StoreURL
from leadership_core.stores.sqlite import SqliteStore, leadership_open_store
from tests.integration.sqlite.processes import PRELUDE, ROOT, Start, kill_all
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


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = leadership_open_store(StoreURL.parse(f"sqlite:///{path}"))
    assert store is not None
    yield store
    store.close()


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start a process that has the store open and runs a few lines."""
    with ExitStack() as stack:

        def run(lines: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE + lines, str(path)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that its forked children end with it
            )
            stack.enter_context(process)
            stack.callback(kill_all, process)
            return process

        yield run
