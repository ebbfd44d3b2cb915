"""One connection to SQLite, which is never inside SQLite while the process forks."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ...backend.fork import leak
from .fork import fork_lock

__all__ = ["Connection"]


class Connection:
    """A connection to a database; used by one thread at a time.

    Args:
        path: the database file.

    Raises:
        sqlite3.Error: it cannot be opened. All methods but `close` raise it.
    """

    def __init__(self, path: Path) -> None:
        with fork_lock:
            # Several threads use it in turn, which sqlite3 refuses by default. No timeout: see
            # `retry_while_busy`.
            self._sqlite: Final = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        self._is_durable: bool | None = None  # not known

    @property
    def in_transaction(self) -> bool:
        return self._sqlite.in_transaction

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Execute the statement and return all rows."""
        with fork_lock:
            return self._sqlite.execute(statement, values).fetchall()

    def value(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Execute the statement and return the first column of its only row."""
        return self.rows(statement, values)[0][0]

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute the statement and return the number of rows that it changed."""
        with fork_lock:
            return self._sqlite.execute(statement, values).rowcount

    def change_many(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Execute the statement once for each of the values."""
        with fork_lock:
            self._sqlite.executemany(statement, values)

    def set_durability(self, *, durable: bool) -> None:
        """Let the commits from now on wait for the disk, or not; not inside a transaction.

        A commit that waits puts all earlier ones on the disk, too.
        """
        if self._is_durable is not durable:
            self._is_durable = None
            self.change(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable

    def roll_back(self) -> None:
        """Roll back; on failure the connection stays in its transaction and must be discarded."""
        if self.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.change("ROLLBACK")

    def close(self) -> None:
        with fork_lock, contextlib.suppress(sqlite3.Error):
            self._sqlite.close()

    def leak(self) -> None:
        """Keep it open until the process ends: it is not even closed by the interpreter's exit."""
        leak(self._sqlite)
