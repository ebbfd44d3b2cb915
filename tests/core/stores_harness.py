"""What the tests of the core's own stores share: a clock that they set, and a patient ear."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from leadership_core.clock import Clock
from leadership_core.memory import MemoryStore, State
from leadership_core.sqlite import SqliteStore
from leadership_core.sqlite.database import Database
from leadership_core.store import Change
from leadership_core.testing import VirtualClock


class FakeClock(VirtualClock):
    """A clock that does not begin at 0, as no boot clock does."""

    def __init__(self) -> None:
        super().__init__(1000.0)


class Seen:
    """A watch's callback that keeps what it was told, for a thread that waits for it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._told = threading.Condition()

    def __call__(self, change: Change) -> None:
        with self._told:
            self.changes.append(change)
            self._told.notify_all()

    def wait(self, is_it: Callable[[Change], bool], timeout: float = 3.0) -> Change:
        """Return the last change once it is what the test waits for."""
        with self._told:
            there = self._told.wait_for(
                lambda: bool(self.changes) and is_it(self.changes[-1]), timeout
            )
            assert there, f"it was told only: {self.changes[-5:]}"
            return self.changes[-1]

    def wait_for(self, change: Change, timeout: float = 3.0) -> None:
        self.wait(lambda last: last == change, timeout)


def sqlite_store(path: Path, clock: Clock, boot: str = "first boot") -> SqliteStore:
    return SqliteStore(Database(str(path)), clock, boot)


def memory_store(state: State) -> MemoryStore:
    return MemoryStore(state)
