"""One connection to SQLite, as this package uses it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ..fork import leak
from .forks import gate

__all__ = ["Connection"]


class Connection:
    """Used by one thread at a time, and never inside SQLite while the process forks.

    Args:
        path: of the database.

    Raises:
        sqlite3.Error: it cannot be opened. All methods but `close` raise it.
    """

    def __init__(self, path: Path) -> None:
        with gate:
            # Threads take turns with it, which sqlite3 would refuse. No timeout: see `patiently`.
            self._sqlite: Final = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )

    @property
    def in_transaction(self) -> bool:
        return self._sqlite.in_transaction

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Do it, and return all rows."""
        with gate:
            return self._sqlite.execute(statement, values).fetchall()

    def value(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Do it, and return the first column of the only row."""
        return self.rows(statement, values)[0][0]

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Do it, and return how many rows it has changed."""
        with gate:
            return self._sqlite.execute(statement, values).rowcount

    def change_many(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Do it once for each of the values."""
        with gate:
            self._sqlite.executemany(statement, values)

    def roll_back(self) -> None:
        """Take back what is not committed; one that does not even do that stays in it."""
        if self.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.change("ROLLBACK")

    def close(self) -> None:
        with gate, contextlib.suppress(sqlite3.Error):
            self._sqlite.close()

    def keep_for_ever(self) -> None:
        """See to it that it is never closed, not even when the interpreter ends."""
        leak(self._sqlite)
