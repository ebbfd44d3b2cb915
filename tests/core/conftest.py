"""Stores for the tests of candidates and followers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core import StoreHandle, open_store
from tests.core.faulty import FaultyStore

Open = Callable[[], StoreHandle]


@pytest.fixture(params=["memory", "sqlite"])
def open_one(request: pytest.FixtureRequest, quick_folder: Path) -> Iterator[Open]:
    """Open one and the same store again and again, as several programs do."""
    name = uuid.uuid4().hex
    url = f"memory://{name}" if request.param == "memory" else f"sqlite:///{quick_folder}/{name}.db"
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_store(url))


@pytest.fixture
def store(open_one: Open) -> StoreHandle:
    """An open store."""
    return open_one()


@pytest.fixture
def faulty() -> FaultyStore:
    """A store with faults to come."""
    return FaultyStore()


@pytest.fixture
def opened(faulty: FaultyStore) -> Iterator[StoreHandle]:
    """The store with faults as a user has it; all is well again before it is closed."""
    with faulty.opened() as handle:
        yield handle
        faulty.heal()
