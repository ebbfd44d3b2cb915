"""The tables, and how a file is known to be ours."""

from __future__ import annotations

from ..errors import ConfigurationError
from .connection import Connection
from .faults import patiently

__all__ = ["configure", "prepare"]

_APPLICATION_ID = 0x6C656164  # "lead", in the header of every file of ours
_VERSION = 1

# The revision is never deleted: it is what makes tokens grow over everything that is.
_TABLES = (
    "CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL)",
    "INSERT INTO counter VALUES (1, 0)",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY NOT NULL,
        ttl REAL NOT NULL,
        expires_at REAL NOT NULL,
        boot_id TEXT NOT NULL
    )""",
    """CREATE TABLE entries (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL,
        session TEXT
    )""",
    "CREATE INDEX entries_by_session ON entries (session) WHERE session IS NOT NULL",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


def configure(connection: Connection) -> None:
    """Set what SQLite forgets when a connection ends."""
    # A commit that a power cut takes back would let a token be given twice. (fullfsync is for
    # macOS, where a plain fsync does not reach the disk.)
    for pragma in ("synchronous = FULL", "fullfsync = ON", "temp_store = MEMORY"):
        connection.rows(f"PRAGMA {pragma}")


def prepare(connection: Connection, path: str, until: float) -> None:
    """Make sure that the database is ours, and create what an empty one lacks.

    Raises:
        ConfigurationError: it is not ours.
        sqlite3.Error: it cannot be read or written.
    """
    if not patiently(lambda: _is_ours(connection, path), until):
        # Only now: somebody else's database must stay as it is.
        _use_wal(connection, path, until)
        patiently(lambda: connection.change("BEGIN IMMEDIATE"), until)
        try:
            if not _is_ours(connection, path):  # another process may have been first
                for statement in _TABLES:
                    connection.change(statement)
            connection.change("COMMIT")
        finally:
            connection.roll_back()
    _use_wal(connection, path, until)


def _is_ours(connection: Connection, path: str) -> bool:
    application = connection.value("PRAGMA application_id")
    version = connection.value("PRAGMA user_version")
    if application == _APPLICATION_ID:
        if version != _VERSION:
            raise ConfigurationError(
                f"{path} was written by another version of this library (format {version}, this"
                f" one has {_VERSION}): use one version, or another file"
            )
        return True
    if application or version or connection.value("SELECT count(*) FROM sqlite_master"):
        raise ConfigurationError(
            f"{path} is a database of something else; use a file that does not exist yet"
        )
    return False


def _use_wal(connection: Connection, path: str, until: float) -> None:
    mode = patiently(lambda: connection.value("PRAGMA journal_mode = WAL"), until)
    if mode != "wal":
        raise ConfigurationError(
            f"{path} is where SQLite has no write-ahead log (it uses {mode!r}):"
            " use a folder on a local disk"
        )
