"""What SQLite says when it fails, in this library's words, and how long to insist."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .. import clock
from ..errors import NotDone, StoreRefused, StoreUnavailable

__all__ = ["is_busy", "patiently", "translated"]

T = TypeVar("T")

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# Not there after the next try either. SQLITE_ERROR: a table is missing.
_REFUSED = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_TOOBIG,
}
_PAUSE = 0.0002
_LONGEST_PAUSE = 0.002


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether somebody else holds a lock, and trying again makes sense."""
    return _code(error) in _BUSY


def patiently(attempt: Callable[[], T], until: float) -> T:
    """Try until nobody else holds the lock.

    SQLite's own patience sleeps up to 100 ms at a time, which is a hundred transactions of
    ours, and has no part in a transaction being begun anew.

    Args:
        attempt: what fails without an effect while another one holds the lock.
        until: when to give up, on `clock.now`; there is at least one attempt.
    """
    pause = _PAUSE
    while True:
        try:
            return attempt()
        except sqlite3.Error as error:
            if not is_busy(error) or clock.now() + pause > until:
                raise
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what SQLite raises inside as `NotDone`, `StoreUnavailable` or `StoreRefused`."""
    try:
        yield
    except sqlite3.Error as error:
        if is_busy(error):
            raise NotDone(f"another process holds the lock of the database: {error}") from error
        if _code(error) in _REFUSED:
            raise StoreRefused(f"the database does not work: {error}") from error
        raise StoreUnavailable(f"the database could not be used: {error}") from error


def _code(error: sqlite3.Error) -> int | None:
    # The extended codes have what they have in common in the lowest byte.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
