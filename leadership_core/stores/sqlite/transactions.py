"""Queries and write transactions on one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ...backend.entries import Entry
from ...errors import SessionLost
from .connection import Connection

__all__ = [
    "BOUND_SESSIONS",
    "Row",
    "Span",
    "State",
    "Transaction",
    "key_span",
    "latest_change",
    "read_rows",
    "read_rows_and_state",
    "renew",
    "tree_span",
]

Span: TypeAlias = tuple[str, str]
"""All keys from the first up to, but not including, the second."""

Row: TypeAlias = tuple[str, bytes, int, str | None, float | None, str | None]
"""Key, value, revision, session; expiry and boot of that session."""

_SELECT = (
    "SELECT key, value, revision, session, expires_at, boot_id"
    " FROM entries LEFT JOIN sessions ON sessions.id = entries.session"
    " WHERE key >= ? AND key < ? ORDER BY key"
)
# One row with a key of NULL where the span is empty. A statement reads one state of the database.
_SELECT_WITH_STATE = (
    "SELECT latest.number, key, value, revision, session, expires_at, boot_id"
    " FROM (SELECT max(number) AS number FROM changes) AS latest"
    " LEFT JOIN entries ON key >= ? AND key < ?"
    " LEFT JOIN sessions ON sessions.id = entries.session ORDER BY key"
)

# The sessions that entries are bound to, each found by one step in the index: there may be many entries.
BOUND_SESSIONS = (
    "WITH RECURSIVE bound (session) AS ("
    "SELECT min(session) FROM entries WHERE session IS NOT NULL"
    " UNION ALL SELECT (SELECT min(session) FROM entries"
    " WHERE session IS NOT NULL AND session > bound.session)"
    " FROM bound WHERE bound.session IS NOT NULL)"
)
# The latter are sessions whose rows were deleted by hand, without the entries bound to them.
_EXPIRED_SESSIONS = BOUND_SESSIONS + (  # noqa: S608 - of constants
    " SELECT id FROM sessions WHERE expires_at <= ? OR boot_id <> ?"
    " UNION SELECT session FROM bound"
    " WHERE session IS NOT NULL AND session NOT IN (SELECT id FROM sessions)"
)


def key_span(key: str) -> Span:
    """Return the span of one key: no key contains a control character, so none lies between."""
    return key, f"{key}\x01"


def tree_span(prefix: str) -> Span:
    """Return the span of all keys that begin with ``prefix/``; ``0`` follows ``/``."""
    return (f"{prefix}/", f"{prefix}0") if prefix else ("", "\U0010ffff")


def read_rows(connection: Connection, span: Span) -> list[Row]:
    """Return the rows in the span, including those of expired sessions."""
    return connection.rows(_SELECT, span)


def read_rows_and_state(connection: Connection, span: Span) -> tuple[int, list[Row]]:
    """Return what `latest_change` and `read_rows` do, for one state of the database."""
    found = connection.rows(_SELECT_WITH_STATE, span)
    return found[0][0] or 0, [row[1:] for row in found if row[1] is not None]


class State(NamedTuple):
    """A state of the database; a later one of this process is larger.

    Attributes:
        file: the number of the file, since another one may take its place.
        change: the number of the latest change in it.
    """

    file: int
    change: int


def latest_change(connection: Connection) -> int:
    """Return the number of the latest change of an entry; 0 before the first."""
    found: int | None = connection.value("SELECT max(number) FROM changes")
    return found or 0


def renew(connection: Connection, session: str, now: float, boot: str) -> bool:
    """Restart the session's ttl at `now`; returns False if the session has ended.

    It is one statement and its own transaction: no Python code runs while the file is locked, so a
    process that is stopped at a random moment hardly ever leaves it locked. The clock was read
    before the lock was acquired, so at worst the session expires slightly early.

    Args:
        connection: not in a transaction.
        session: the session's id.
        now: seconds, on the machine's clock.
        boot: id of the machine's boot.
    """
    renewed = connection.change(
        "UPDATE sessions SET expires_at = ? + ttl WHERE id = ? AND boot_id = ? AND expires_at > ?",
        (now, session, boot, now),
    )
    return renewed == 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open write transaction; no other connection can write until it ends.

    Attributes:
        connection: has the transaction open.
        now: the machine's clock, read after the transaction had begun: a later transaction, of any
            process, has a later time. So a session that has expired for one has expired for all.
        boot: id of the machine's boot; sessions of another boot have ended.
    """

    connection: Connection
    now: float
    boot: str

    def expire(self) -> None:
        """Delete the sessions that have ended, and the entries bound to them."""
        for (session,) in self.connection.rows(_EXPIRED_SESSIONS, (self.now, self.boot)):
            self.end_session(session)

    def entries(self, span: Span) -> list[Entry]:
        return [Entry(*row[:4]) for row in read_rows(self.connection, span)]

    def entry(self, key: str) -> Entry | None:
        found = self.entries(key_span(key))
        return found[0] if found else None

    def put(self, key: str, value: bytes, session: str | None) -> Entry:
        revision = self._next_revision()
        self.connection.change(
            "INSERT INTO entries (key, value, revision, session) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
            " revision = excluded.revision, session = excluded.session",
            (key, value, revision, session),
        )
        return Entry(key, value, revision, session)

    def delete(self, key: str) -> None:
        self.connection.change("DELETE FROM entries WHERE key = ?", (key,))
        self._next_revision()  # so that watches notice the deletion

    def delete_all(self, span: Span) -> int:
        deleted = self.connection.change("DELETE FROM entries WHERE key >= ? AND key < ?", span)
        if deleted:
            self._next_revision()
        return deleted

    def open_session(self, session: str, ttl: float) -> None:
        self.connection.change(
            "INSERT INTO sessions (id, ttl, expires_at, boot_id) VALUES (?, ?, ?, ?)",
            (session, ttl, self.now + ttl, self.boot),
        )

    def check_session(self, session: str) -> None:
        if not self.connection.rows("SELECT 1 FROM sessions WHERE id = ?", (session,)):
            raise SessionLost(f"the session {session} is gone")

    def end_session(self, session: str) -> None:
        self.connection.change("DELETE FROM sessions WHERE id = ?", (session,))
        bound = self.connection.change("DELETE FROM entries WHERE session = ?", (session,))
        if bound:
            self._next_revision()

    def _next_revision(self) -> int:
        self.connection.change("UPDATE counter SET revision = revision + 1")
        found: int = self.connection.value("SELECT revision FROM counter")
        return found
