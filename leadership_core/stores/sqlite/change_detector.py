"""Detection of changed keys: a connection, and the place up to which it has read the log of changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, TypeAlias

from ...backend import clock
from ...backend.entries import Entry
from ...errors import StoreUnavailable
from .database import Database
from .errors import map_errors, retry_while_busy
from .executor import FileReplaced, TransactionExecutor
from .transactions import BOUND_SESSIONS, Span, State, latest_change, read_rows

__all__ = ["ChangeDetector", "ChangedSpan", "Fingerprint", "SpansOf", "fingerprint_of"]

Fingerprint: TypeAlias = tuple[int, int | None, int]
"""Number of entries, highest revision, and number of entries bound to a session, of one span.

Differs after every change in the span, unless the database is edited by hand to hide it.
"""

SpansOf: TypeAlias = Callable[[Collection[str] | None], Collection[Span]]
"""Returns the watched spans that have one of these keys in them; all watched spans for None."""

_REQUEST_TIMEOUT = 1.0  # seconds
_POLLS_PER_FILE_CHECK = 5  # so a replaced file is noticed after 0.1 s at most

_NEXT_EXPIRY = BOUND_SESSIONS + (  # noqa: S608 - of constants
    " SELECT CASE WHEN EXISTS (SELECT 1 FROM bound"
    " WHERE session IS NOT NULL AND session NOT IN (SELECT id FROM sessions)) THEN -1"
    " ELSE (SELECT min(CASE boot_id WHEN ? THEN expires_at ELSE -1 END) FROM sessions) END"
)
_OLDEST_CHANGE = "SELECT min(number) FROM changes"
_CHANGED_KEYS = "SELECT DISTINCT key FROM changes WHERE number > ?"


class ChangedSpan(NamedTuple):
    """What a span has in it now.

    Attributes:
        span: which.
        state: of the database, as of which this holds.
        entries: in the order of their keys.
    """

    span: Span
    state: State
    entries: list[Entry]


def fingerprint_of(entries: Collection[Entry]) -> Fingerprint:
    """Return the fingerprint of a span with these entries in it."""
    latest = max((entry.revision for entry in entries), default=None)
    return len(entries), latest, sum(entry.session is not None for entry in entries)


class ChangeDetector:
    """Detects changes; used by one thread, and discarded when it raises.

    A new detector has read nothing, so it reports every span.

    Args:
        database: the database to read; one connection is taken from it until `close`.
        executor: deletes the sessions that have expired.
        spans_of: what is watched.

    Raises:
        StoreUnavailable: the database could not be opened within 1 s. `changes` raises it, too.

    Attributes:
        expires_at: when the next session expires, on the clock of the executor.
    """

    def __init__(
        self, database: Database, executor: TransactionExecutor, spans_of: SpansOf
    ) -> None:
        self.expires_at: float = float("inf")
        self._database: Final = database
        self._executor: Final = executor
        self._spans_of: Final = spans_of
        self._polls = 0
        self._version: int | None = None
        self._change: int | None = None  # up to which the log was read
        self._new: set[Span] = set()  # to report in any case
        with map_errors():
            self._file, self._connection = database.take(clock.now() + _REQUEST_TIMEOUT)

    def close(self) -> None:
        self._database.drop(self._file, self._connection)

    def is_quiet(self) -> bool:
        """Return, cheaply, whether nothing has changed; a replaced file is noticed only now and then."""
        self._polls += 1
        try:
            return (
                self._data_version() == self._version
                and self._executor.now() < self.expires_at
                and (
                    self._polls % _POLLS_PER_FILE_CHECK > 0 or self._database.is_current(self._file)
                )
            )
        except (sqlite3.Error, StoreUnavailable):
            return False  # a full check finds the cause

    def changes(self, new: Collection[Span] = ()) -> list[ChangedSpan]:
        """Return the spans that may have changed since the last call, and what is in them now.

        Args:
            new: spans to report in any case.

        Raises:
            FileReplaced: another file is at the path.
            StoreUnavailable: it could not be read.
        """
        if not self._database.is_current(self._file):
            raise FileReplaced(f"{self._database.path} was replaced")
        self._new.update(new)
        deadline = clock.now() + _REQUEST_TIMEOUT
        with map_errors():
            version: int | None = retry_while_busy(self._data_version, deadline)
            is_quiet = version == self._version and self._executor.now() < self.expires_at
            if is_quiet and not self._new:
                return []
            found = retry_while_busy(self._read, deadline)
            if found is None:
                # What has expired is deleted before it is reported: see `TransactionExecutor.read`.
                self._executor.expire()
                found = retry_while_busy(self._read, deadline)
        if found is None:
            self._version = None
            return []  # another session has expired: the next call deletes it, and reports the rest
        self._version = version
        self._new.clear()
        return found

    def _data_version(self) -> int:
        version: int = self._connection.value("PRAGMA data_version")
        return version

    def _read(self) -> list[ChangedSpan] | None:
        """Read the spans that have changed; None if a session has expired, and nothing was read."""
        connection = self._connection
        connection.change("BEGIN")
        try:
            expires_at = connection.value(_NEXT_EXPIRY, (self._executor.boot,))
            self.expires_at = float("inf") if expires_at is None else expires_at
            if self.expires_at <= self._executor.now():
                return None
            state = State(self._file.number, latest_change(connection))
            # Renewals change the database, too, and are most of its writes.
            spans = {*self._new, *self._changed_spans(state.change)}
            found = [
                ChangedSpan(span, state, [Entry(*row[:4]) for row in read_rows(connection, span)])
                for span in spans
            ]
            self._change = state.change
            return found
        finally:
            connection.roll_back()

    def _changed_spans(self, latest: int) -> Collection[Span]:
        """Return the watched spans of the keys that were added to the log since the last call."""
        if self._change == latest:
            return ()
        if self._change is None or latest < self._change:  # the log was deleted by hand
            return self._spans_of(None)
        oldest = self._connection.value(_OLDEST_CHANGE)
        if oldest is None or oldest > self._change + 1:
            return self._spans_of(None)  # some of it has been trimmed meanwhile
        keys = [key for (key,) in self._connection.rows(_CHANGED_KEYS, (self._change,))]
        return self._spans_of(keys)
