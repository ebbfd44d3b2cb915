from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Start, starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands that go on; they are ended with the test."""
    with starter(tmp_path) as start:
        yield start


@pytest.fixture
def url(quick_folder: Path) -> str:
    """An embedded store of the test's own."""
    return f"sqlite:///{quick_folder / 'store.db'}"
