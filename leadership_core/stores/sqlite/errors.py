"""Mapping of SQLite's errors, and retries while the database is locked."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ...backend import clock
from ...errors import NotApplied, StoreRefused, StoreUnavailable

__all__ = ["is_busy", "map_errors", "retry_while_busy"]

T = TypeVar("T")

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# Errors that do not pass by themselves. SQLITE_ERROR: a table is missing.
_REFUSED = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_TOOBIG,
}
_FIRST_PAUSE = 0.0002  # seconds
_LONGEST_PAUSE = 0.002  # seconds


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the lock, so that a retry may succeed."""
    return _code(error) in _BUSY


def retry_while_busy(attempt: Callable[[], T], deadline: float) -> T:
    """Call `attempt` until it does not fail because another connection holds the lock.

    SQLite's own busy timeout sleeps for up to 100 ms at a time, about a hundred transactions of
    this store, and does not retry a whole transaction.

    Args:
        attempt: has no effect when it fails with SQLITE_BUSY.
        deadline: when to give up, on `clock.now`; there is at least one attempt.

    Raises:
        sqlite3.Error: as `attempt` raised it, if it is not a lock, or the deadline has passed.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return attempt()
        except sqlite3.Error as error:
            if not is_busy(error) or clock.now() + pause > deadline:
                raise
        time.sleep(random.uniform(pause / 2, pause))  # SQLite has no notice of a free lock
        pause = min(pause * 1.5, _LONGEST_PAUSE)


@contextmanager
def map_errors() -> Iterator[None]:
    """Map SQLite's errors to `NotApplied`, `StoreUnavailable` or `StoreRefused`."""
    try:
        yield
    except sqlite3.Error as error:
        if is_busy(error):
            raise NotApplied(f"another process holds the lock of the database: {error}") from error
        if _code(error) in _REFUSED:
            raise StoreRefused(f"the database cannot be used: {error}") from error
        raise StoreUnavailable(f"the database could not be accessed: {error}") from error


def _code(error: sqlite3.Error) -> int | None:
    # The primary result code is the lowest byte of an extended one.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
