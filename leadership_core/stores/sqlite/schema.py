"""The tables, and the header that identifies a database of this store."""

from __future__ import annotations

from ...errors import ConfigurationError
from .connection import Connection
from .errors import retry_while_busy

__all__ = ["configure", "prepare"]

_APPLICATION_ID = 0x6C656164  # "lead", in the header of the file
_VERSION = 1

# The revision only grows, whatever is deleted: it makes tokens grow.
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

# The log of changes, by which watches learn what to read again: each change of an entry writes its key,
# whichever program makes it. It is added to the files of earlier releases, which still work with them. Only the
# latest changes are kept; a poll that is further behind reads all watched keys.
_CHANGE_LOG = (
    # AUTOINCREMENT: the numbers do not start again, also where the rows are deleted by hand.
    "CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL)",
    """CREATE TRIGGER IF NOT EXISTS entry_created AFTER INSERT ON entries
        BEGIN INSERT INTO changes (key) VALUES (NEW.key); END""",
    """CREATE TRIGGER IF NOT EXISTS entry_written AFTER UPDATE ON entries BEGIN
        INSERT INTO changes (key) SELECT OLD.key WHERE OLD.key IS NOT NEW.key;
        INSERT INTO changes (key) VALUES (NEW.key);
        END""",
    """CREATE TRIGGER IF NOT EXISTS entry_deleted AFTER DELETE ON entries
        BEGIN INSERT INTO changes (key) VALUES (OLD.key); END""",
    """CREATE TRIGGER IF NOT EXISTS changes_trimmed AFTER INSERT ON changes
        WHEN NEW.number % 512 = 0
        BEGIN DELETE FROM changes WHERE number <= NEW.number - 8192; END""",
)
_HAS_CHANGE_LOG = (
    "SELECT count(*) FROM sqlite_master WHERE name IN"
    " ('changes', 'entry_created', 'entry_written', 'entry_deleted', 'changes_trimmed')"
)


def configure(connection: Connection) -> None:
    """Set the options that belong to a connection rather than to the file."""
    # (fullfsync is for macOS, where a plain fsync does not reach the disk.)
    for pragma in ("fullfsync = ON", "temp_store = MEMORY"):
        connection.rows(f"PRAGMA {pragma}")
    # A commit that a power cut undoes would let a token be granted twice.
    connection.set_durability(durable=True)


def prepare(connection: Connection, path: str, deadline: float) -> None:
    """Check that the database belongs to this store, and create the tables of an empty one.

    Args:
        connection: a connection to the database.
        path: for messages.
        deadline: until when to wait for locks, on `clock.now`.

    Raises:
        ConfigurationError: it belongs to another program, or to another version.
        sqlite3.Error: it cannot be read or written.
    """
    if not retry_while_busy(lambda: _is_ours(connection, path), deadline):
        # Only now: another program's database must not be changed.
        _use_wal(connection, path, deadline)
        retry_while_busy(lambda: connection.change("BEGIN IMMEDIATE"), deadline)
        try:
            if not _is_ours(connection, path):  # another process may have been first
                for statement in (*_TABLES, *_CHANGE_LOG):
                    connection.change(statement)
            connection.change("COMMIT")
        finally:
            connection.roll_back()
    _use_wal(connection, path, deadline)
    if retry_while_busy(lambda: connection.value(_HAS_CHANGE_LOG), deadline) < len(_CHANGE_LOG):
        retry_while_busy(lambda: connection.change("BEGIN IMMEDIATE"), deadline)
        try:
            for statement in _CHANGE_LOG:
                connection.change(statement)
            connection.change("COMMIT")
        finally:
            connection.roll_back()


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
            f"{path} is another program's database; use a file that does not exist yet"
        )
    return False


def _use_wal(connection: Connection, path: str, deadline: float) -> None:
    mode = retry_while_busy(lambda: connection.value("PRAGMA journal_mode = WAL"), deadline)
    if mode != "wal":
        raise ConfigurationError(
            f"{path} is where SQLite has no write-ahead log (it uses {mode!r}):"
            " use a folder on a local disk"
        )
