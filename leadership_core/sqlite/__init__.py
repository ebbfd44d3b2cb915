"""``sqlite:///relative.db``, ``sqlite:////absolute.db``: a file, for the processes of one machine.

No server: SQLite's locks make each write atomic, and the machine's boot clock, which all
processes share, ends the sessions. A reboot ends them all. Processes of several machines must
not share the file, whatever the file system says.

Who holds SQLite's write lock can stop everybody else: while a process is stopped (SIGSTOP, a
debugger) inside a write, which takes about a millisecond, nobody can renew, and so nobody
leads after a ttl. It goes on when that process goes on or dies.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import URLError
from ..plugins import hookimpl
from ..precautions import warn_about_database
from ..url import StoreURL
from .backend import SqliteStore
from .database import Database
from .host import boot_id, machine_clock

__all__ = ["SqliteStore", "leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> SqliteStore | None:
    """Open ``sqlite:///path``; a database that is there is looked at, none is created yet."""
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
