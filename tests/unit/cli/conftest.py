from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.command import Start, starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands, which are ended with the test."""
    with starter(tmp_path) as start:
        yield start


@pytest.fixture
def url(quick_folder: Path) -> str:
    """Return the URL of an embedded store for this test."""
    return f"sqlite:///{quick_folder / 'store.db'}"
