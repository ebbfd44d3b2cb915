"""The store `sqlite:///PATH`: a database file, shared by the processes of one machine.

It needs no server: SQLite's locks make each write atomic, and sessions expire by the machine's boot
clock, which all processes share. A reboot ends all sessions. Processes of several machines must not
share the file, whatever its file system supports.

The holder of SQLite's write lock blocks all other writers: while a process is stopped (SIGSTOP, a
debugger) inside a write, which takes about a millisecond, no session can be renewed, and there is no
leader after a ttl. Elections go on when that process continues or dies.
"""

from __future__ import annotations

from pathlib import Path

from ...backend.hooks import hookimpl
from ...backend.security_warnings import warn_about_database
from ...backend.url import StoreURL
from ...errors import URLError
from .database import Database
from .platform import boot_id, machine_clock
from .store import SqliteStore

__all__ = ["SqliteStore", "leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> SqliteStore | None:
    """Open ``sqlite:///PATH``: an existing file is checked, a missing one is created at first use."""
    if url.scheme != "sqlite":
        return None
    url.read_options({})
    if url.hosts or url.username is not None or url.password is not None:
        raise URLError(
            "sqlite:// has no host: write sqlite:///relative.db or sqlite:////absolute.db"
        )
    if not url.path.strip("/"):
        raise URLError("sqlite:// needs a file: sqlite:///relative.db or sqlite:////absolute.db")
    database = Database(url.path)
    warn_about_database(url, Path(url.path).absolute())
    return SqliteStore(database, machine_clock(), boot_id())
