"""A connection that remembers what it has seen, and says what is different since."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Set as AbstractSet
from typing import Final, TypeAlias

from .. import clock
from ..store import Entry
from .database import Database
from .faults import patiently, translated
from .step import Span, read_rows
from .steps import FileReplaced, Steps

__all__ = ["Seen", "View"]

Seen: TypeAlias = tuple[int, int | None, int]
"""How many entries, the highest revision, and how many are bound to a session.

Different after every change in a span, but for what somebody does by hand to mislead us.
"""

_PATIENCE = 1.0  # seconds
_LOOKS_PER_CHECK = 5  # of which file it is: 50 ms, which only those notice who replace it

_TABLE = (
    "CREATE TEMP TABLE watched (low TEXT, high TEXT, entries INTEGER, latest INTEGER,"
    " bound INTEGER, PRIMARY KEY (low, high)) WITHOUT ROWID"
)
_DIFFERENCES = (
    "SELECT low, high, count(key), max(revision), count(session)"
    " FROM temp.watched LEFT JOIN main.entries ON key >= low AND key < high"
    " GROUP BY low, high"
    " HAVING count(key) IS NOT watched.entries OR max(revision) IS NOT watched.latest"
    " OR count(session) IS NOT watched.bound"
)
# The counts are for what is done by hand, which does not raise the revision. Indexes answer them.
_STATE = (
    "SELECT revision, (SELECT count(*) FROM entries),"
    " (SELECT count(*) FROM entries WHERE session IS NOT NULL),"
    " CASE WHEN EXISTS (SELECT 1 FROM entries"
    " WHERE session IS NOT NULL AND session NOT IN (SELECT id FROM sessions)) THEN -1"
    " ELSE (SELECT min(CASE boot_id WHEN ? THEN expires_at ELSE -1 END) FROM sessions) END"
    " FROM counter"
)


class View:
    """Used by one thread, and dropped when it raises: a new one knows nothing and tells all.

    Attributes:
        expires_at: when the next session ends, on the clock of the steps.
    """

    def __init__(self, database: Database, steps: Steps) -> None:
        self.expires_at = float("inf")
        self._database: Final = database
        self._steps: Final = steps
        self._looks = 0
        self._version: int | None = None
        self._state: object = None
        self._spans: AbstractSet[Span] = frozenset()
        with translated():
            self._file, self._connection = database.take(clock.now() + _PATIENCE)
            try:
                self._connection.change(_TABLE)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        self._database.drop(self._file, self._connection)

    def watch(self, spans: AbstractSet[Span], anew: AbstractSet[Span]) -> None:
        """Look at these spans from now on, and tell of those in `anew` in any case."""
        with translated():
            self._run_many("DELETE FROM watched WHERE low = ? AND high = ?", self._spans - spans)
            self._run_many(
                "INSERT OR REPLACE INTO watched (low, high) VALUES (?, ?)",
                (spans - self._spans) | (spans & anew),
            )
        self._spans = spans
        self._version = self._state = None

    def is_quiet(self) -> bool:
        """Say, cheaply, that nothing has happened; that the file was replaced is seen later."""
        self._looks += 1
        if self._looks % _LOOKS_PER_CHECK == 0 or self._steps.now() >= self.expires_at:
            return False
        try:
            return self._data_version() == self._version
        except sqlite3.Error:
            return False  # a full look finds out what it is

    def changes(self) -> list[tuple[Span, Seen, list[Entry]]]:
        """Return the spans that have changed since the last call, with what is there now.

        Raises:
            FileReplaced: another file is at the path.
            StoreUnavailable: it could not be read.
        """
        if not self._database.holds(self._file):
            raise FileReplaced(f"{self._database.path} was replaced")
        until = clock.now() + _PATIENCE
        with translated():
            version = patiently(self._data_version, until)
            if version == self._version and self._steps.now() < self.expires_at:
                return []
            found = patiently(self._differences, until)
            if found is None:
                # Nobody is told of what has expired before it is deleted: see `Steps.read`.
                self._steps.expire()
                found = patiently(self._differences, until)
        if found is None:
            return []  # the next one has expired: it is looked at in the next call
        self._version = version
        return found

    def _data_version(self) -> int:
        version: int = self._connection.value("PRAGMA data_version")
        return version

    def _differences(self) -> list[tuple[Span, Seen, list[Entry]]] | None:
        self._connection.change("BEGIN")
        try:
            *state, expires_at = self._connection.rows(_STATE, (self._steps.boot,))[0]
            self.expires_at = float("inf") if expires_at is None else expires_at
            if self.expires_at <= self._steps.now():
                return None
            # Renewals change the database, too, and are most of what happens in it.
            found = [] if state == self._state else list(self._read_differences())
            self._connection.change("COMMIT")
            self._state = state
            return found
        finally:
            self._connection.roll_back()

    def _read_differences(self) -> Iterator[tuple[Span, Seen, list[Entry]]]:
        for low, high, *seen in self._connection.rows(_DIFFERENCES):
            self._connection.change(
                "UPDATE watched SET entries = ?, latest = ?, bound = ? WHERE low = ? AND high = ?",
                (*seen, low, high),
            )
            rows = read_rows(self._connection, (low, high))
            yield (low, high), (seen[0], seen[1], seen[2]), [Entry(*row[:4]) for row in rows]

    def _run_many(self, statement: str, spans: Iterable[Span]) -> None:
        self._connection.change("BEGIN")
        self._connection.change_many(statement, spans)
        self._connection.change("COMMIT")
