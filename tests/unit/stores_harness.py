"""Helpers of the tests of the built-in stores: a clock that is set, and stores that use it."""

from __future__ import annotations

from pathlib import Path

from leadership_core.backend.clock import Clock
from leadership_core.stores.memory import MemoryStore, State
from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.database import Database
from leadership_core.testing import VirtualClock


class FakeClock(VirtualClock):
    """A clock that starts above 0, like a boot clock."""

    def __init__(self) -> None:
        super().__init__(1000.0)


def sqlite_store(path: Path, clock: Clock, boot: str = "first boot") -> SqliteStore:
    return SqliteStore(Database(str(path)), clock, boot)


def memory_store(state: State) -> MemoryStore:
    return MemoryStore(state)
