"""The pool of connections to the file at a path, which notices when that file is replaced.

Two threads must not use a connection at once: a call takes an idle one and returns it. A connection
must not be closed after its file was replaced: the last connection to close deletes the write-ahead
log by name, and that name then belongs to the new file. A connection must not be used, not even
closed, in a forked child: see `fork`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final
from weakref import WeakSet

from ...backend import clock
from ...backend.deadline import remaining_timeout
from ...backend.fork import at_fork_in_child
from ...errors import ConfigurationError, ForkedStore, StoreClosed, StoreRefused, StoreUnavailable
from .connection import Connection
from .errors import is_busy, retry_while_busy
from .location import Identity, Location
from .schema import configure, prepare

__all__ = ["Database", "File"]

_MAX_IDLE = 8
_CHECK_TIMEOUT = 1.0  # seconds that opening a store may take


@dataclass(eq=False, slots=True)
class File:
    """One database file, and its idle connections; a later one at the path has a larger number."""

    identity: Identity
    sidecar_files: dict[Path, Identity | None]
    idle: list[Connection] = field(default_factory=list)
    number: int = field(default_factory=count(1).__next__)


class Database:
    """The file at a path, reopened when another file takes its place; thread-safe.

    Args:
        path: of the file; it is created when it is first used.

    Raises:
        ConfigurationError: the path cannot hold a database of ours, or holds another one.
    """

    def __init__(self, path: str) -> None:
        self._location: Final = Location(path)
        self._lock: Final = threading.Lock()
        self._opening: Final = threading.Lock()
        self._file: File | None = None
        self._identities: Final[set[Identity]] = set()
        self._open: Final[set[Connection]] = set()  # leaked in a forked child
        self._closed: Final = threading.Event()
        self.is_forked: bool = False
        _databases.add(self)
        if self._location.identity() is not None:
            # Report now what is wrong with an existing file, not at its first use.
            try:
                self._open_file(clock.now() + min(_CHECK_TIMEOUT, remaining_timeout()))
            except StoreUnavailable:
                pass  # busy, which may have ended at the first use
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise ConfigurationError(
                        f"{self.path} cannot be used as a database ({error}): name another file, or"
                        " one that does not exist yet"
                    ) from error

    @property
    def path(self) -> Path:
        return self._location.path

    def check_open(self) -> None:
        """Raise `StoreClosed` or `ForkedStore` if it cannot be used any more."""
        if self.is_forked:
            raise ForkedStore("the sqlite:// store belongs to the parent of this process")
        if self._closed.is_set():
            raise StoreClosed("the sqlite:// store is closed")

    def is_current(self, file: File) -> bool:
        """Return whether the file is still the one at the path."""
        return self._location.identity() == file.identity

    @contextmanager
    def connection(self, deadline: float) -> Iterator[tuple[File, Connection]]:
        """Lend a connection to the file that is at the path now.

        Args:
            deadline: when opening one must have ended, on `clock.now`.

        Raises:
            sqlite3.Error: as raised inside, or on opening.
            StoreRefused: the file at the path is not a database of ours any more.
            StoreUnavailable: it cannot be opened in time.
        """
        file, connection = self.take(deadline)
        is_usable = True
        try:
            yield file, connection
        except sqlite3.Error as error:
            is_usable = is_busy(error)  # after any other error it is discarded
            raise
        finally:
            if is_usable:
                with self._lock:
                    is_usable = (
                        file is self._file
                        and len(file.idle) < _MAX_IDLE
                        and not connection.in_transaction  # the rollback has failed
                    )
                    if is_usable:
                        file.idle.append(connection)
            if not is_usable:
                self.drop(file, connection)

    def take(self, deadline: float) -> tuple[File, Connection]:
        """Take a connection, to be ended with `drop`; raises what `connection` raises."""
        self.check_open()
        file = self._file
        if file is None or not self.is_current(file):
            try:
                file = self._open_file(deadline)
            except ConfigurationError as error:
                raise StoreRefused(str(error)) from error
        with self._lock:
            if file.idle:
                return file, file.idle.pop()
        connection = self._connect(deadline)
        if not self.is_current(file):
            self._end(connection, can_close=False)
            raise StoreUnavailable(f"{self.path} is being replaced")
        return file, connection

    def drop(self, file: File, connection: Connection) -> None:
        """Close a connection, or leak it if its file was replaced."""
        try:
            self._end(connection, can_close=self.is_current(file))
        except StoreUnavailable:
            self._end(connection, can_close=False)

    def close(self) -> None:
        """Close the idle connections; a connection in use is closed when its call ends."""
        if self.is_forked:
            return
        with self._lock:
            self._closed.set()
            file, self._file = self._file, None
        self._drop_idle(file)

    def end_in_child(self) -> None:
        """Make it inert in a forked child; takes no lock. May be called again."""
        self.is_forked = True
        for connection in tuple(self._open):
            connection.leak()
        if self._open:
            _inherited.update(self._identities)

    def _open_file(self, deadline: float) -> File:
        if not self._opening.acquire(timeout=max(0.0, deadline - clock.now())):
            raise StoreUnavailable(f"opening {self.path} takes too long")
        try:
            old = self._file
            if old is not None and self.is_current(old):
                return old  # another thread has opened it
            with self._location.locked(deadline):
                if old is not None and self.is_current(old):
                    return old  # a folder that was away is back: its files are no leftovers
                self._location.delete_sidecar_files({} if old is None else old.sidecar_files)
                self._location.create()
                file = self._new_file(deadline)
            with self._lock:
                if not self._closed.is_set():
                    self._file = file
            self._drop_idle(file if self._closed.is_set() else old)
            self.check_open()
            return file
        finally:
            self._opening.release()

    def _new_file(self, deadline: float) -> File:
        before = self._location.identity()
        if before in _inherited:
            raise ConfigurationError(
                f"a parent of this process had {self.path} open when it was forked, and SQLite"
                " would mix up their locks: open the store after the fork only, or start a new"
                " process (multiprocessing: 'spawn')"
            )
        if before is not None:
            self._identities.add(before)
        connection = self._connect(deadline)
        try:
            prepare(connection, str(self.path), deadline)
            found = self._location.identity()
            if found is None or before not in {None, found}:
                raise StoreUnavailable(f"{self.path} is being replaced")
            self._identities.add(found)
            return File(found, self._location.sidecar_files(), [connection])
        except BaseException:
            self._end(connection, can_close=before in {None, self._location.identity()})
            raise

    def _drop_idle(self, file: File | None) -> None:
        if file is not None:
            with self._lock:
                idle, file.idle = file.idle, []
            for connection in idle:
                self.drop(file, connection)

    def _connect(self, deadline: float) -> Connection:
        connection = Connection(self.path)
        with self._lock:
            self._open.add(connection)
        try:
            retry_while_busy(lambda: configure(connection), deadline)
        except BaseException:
            self._end(connection, can_close=True)
            raise
        return connection

    def _end(self, connection: Connection, *, can_close: bool) -> None:
        if can_close:
            connection.close()
        else:
            connection.leak()
        with self._lock:
            self._open.discard(connection)


_databases: Final[WeakSet[Database]] = WeakSet()
_inherited: Final[set[Identity]] = set()  # files that were open in a parent when it forked


@at_fork_in_child
def _end_all_in_child() -> None:
    for database in list(_databases):
        database.end_in_child()
