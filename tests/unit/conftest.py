"""Stores for the tests of candidates and followers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core import Store, open_store
from tests.unit.faulty import FaultyStore

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_one(request: pytest.FixtureRequest, quick_folder: Path) -> Iterator[Open]:
    """A function that opens the same store each time, as several programs would."""
    name = uuid.uuid4().hex
    url = f"memory://{name}" if request.param == "memory" else f"sqlite:///{quick_folder}/{name}.db"
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_store(url))


@pytest.fixture
def store(open_one: Open) -> Store:
    """An open store."""
    return open_one()


@pytest.fixture
def faulty() -> FaultyStore:
    """A store whose faults the test injects."""
    return FaultyStore()


@pytest.fixture
def opened(faulty: FaultyStore) -> Iterator[Store]:
    """The same store as users hold it; its faults are healed before it is closed."""
    with faulty.opened() as handle:
        yield handle
        faulty.heal()
