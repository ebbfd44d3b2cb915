"""What is in the database, as one connection sees it at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..errors import SessionLost
from ..store import Entry
from .connection import Connection

__all__ = ["Row", "Span", "Step", "key_span", "read_rows", "renew", "tree_span"]

Span: TypeAlias = tuple[str, str]
"""All keys from the first up to but without the second."""

Row: TypeAlias = tuple[str, bytes, int, str | None, float | None, str | None]
"""Key, value, revision, session; expiry and boot of that session."""

_SELECT = (
    "SELECT key, value, revision, session, expires_at, boot_id"
    " FROM entries LEFT JOIN sessions ON sessions.id = entries.session"
    " WHERE key >= ? AND key < ? ORDER BY key"
)

# The latter are those that somebody has deleted by hand, without what is bound to them.
_ENDED = (
    "SELECT id FROM sessions WHERE expires_at <= ? OR boot_id <> ?"
    " UNION SELECT session FROM entries"
    " WHERE session IS NOT NULL AND session NOT IN (SELECT id FROM sessions)"
)


def key_span(key: str) -> Span:
    """Return the span of one key; no key has a control character that could come after it."""
    return key, f"{key}\x01"


def tree_span(prefix: str) -> Span:
    """Return the span of all keys that begin with ``prefix/``; ``0`` follows ``/``."""
    return (f"{prefix}/", f"{prefix}0") if prefix else ("", "\U0010ffff")


def read_rows(connection: Connection, span: Span) -> list[Row]:
    """Return what is in the span, that of expired sessions included."""
    return connection.rows(_SELECT, span)


def renew(connection: Connection, session: str, now: float, boot: str) -> bool:
    """Let the session's ttl begin at `now`; False if it has ended.

    One statement that is its own transaction: Python runs nothing while the file is locked, so
    a process that is stopped at some moment hardly ever leaves it locked. The clock was read
    before the lock was had, which makes the session end a little early at worst.
    """
    renewed = connection.change(
        "UPDATE sessions SET expires_at = ? + ttl WHERE id = ? AND boot_id = ? AND expires_at > ?",
        (now, session, boot, now),
    )
    return renewed == 1


@dataclass(frozen=True, slots=True)
class Step:
    """One write transaction, begun; nothing else is written until it ends.

    Attributes:
        connection: has the transaction open.
        now: the machine's clock, read when the transaction had begun: a later one, of any
            process, sees a later time. So what has expired for one has expired for all.
        boot: the machine's boot; sessions of another one have ended.
    """

    connection: Connection
    now: float
    boot: str

    def expire(self) -> None:
        """Delete the sessions that have ended, and what is bound to them."""
        for (session,) in self.connection.rows(_ENDED, (self.now, self.boot)):
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
        self._next_revision()  # so that it shows in the revision that something changed

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
