"""Stores for the tests of candidates and followers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core import Store, open_store
from leadership_core.engine.lease import Lease
from leadership_core.observers import observe
from tests.unit.faulty import FaultyStore
from tests.unit.machine_harness import Harness
from tests.unit.manual_clock import ManualClock
from tests.unit.record_keeper import RecordKeeper

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


@pytest.fixture
def harness() -> Harness:
    """A state machine, alone in the queue of its key."""
    return Harness()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that shows the time that the test sets."""
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> Lease:
    """A lease of 10 s, with a margin of 1 s."""
    return Lease(10.0, now=clock)


@pytest.fixture
def recorder() -> Iterator[RecordKeeper]:
    """An observer that keeps all records."""
    observer = RecordKeeper()
    handle = observe(observer)
    yield observer
    handle.close()
