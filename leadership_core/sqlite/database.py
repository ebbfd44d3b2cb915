"""Connections to the database file, as many as there are calls at once, and what they outlive.

Two threads must not use a connection at once: a call takes one from the idle ones and puts it
back. And it must not be closed when its file was replaced: the last one to close deletes the
log by its name, which is the new file's by then. (For a third thing that must not happen, see
`forks`.)
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .. import clock
from ..budget import remaining_budget
from ..errors import ConfigurationError, ForkedStore, StoreClosed, StoreRefused, StoreUnavailable
from .connection import Connection
from .faults import is_busy, patiently
from .forks import is_inherited, register
from .location import Identity, Location
from .schema import configure, prepare

__all__ = ["Database", "File"]

_MOST_IDLE = 8
_CHECK = 1.0  # seconds that opening a store may take


@dataclass(eq=False, slots=True)
class File:
    """One history: the file that is at the path, for as long as it is."""

    identity: Identity
    beside: dict[Path, Identity | None]
    idle: list[Connection] = field(default_factory=list)


class Database:
    """The file at a path, opened anew when another one takes its place; thread-safe.

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
        self._open: Final[set[Connection]] = set()  # all that must survive a fork
        self._closed: Final = threading.Event()
        self.is_forked = False
        register(self)
        if self._location.identity() is not None:
            # What is wrong with a file that is there is better said now.
            self._check_file()

    @property
    def path(self) -> Path:
        return self._location.path

    def check_open(self) -> None:
        """Raise `StoreClosed` or `ForkedStore` if it can be used no more."""
        if self.is_forked:
            raise ForkedStore("the sqlite:// store belongs to the parent of this process")
        if self._closed.is_set():
            raise StoreClosed("the sqlite:// store is closed")

    def holds(self, file: File) -> bool:
        """Say whether the file is still the one at the path."""
        return self._location.identity() == file.identity

    @contextmanager
    def connection(self, until: float) -> Iterator[tuple[File, Connection]]:
        """Lend a connection to the file that is at the path now.

        Args:
            until: when opening one must have ended, on `clock.now`.

        Raises:
            sqlite3.Error: as raised inside, or on opening.
            StoreRefused: the file at the path is not a database of ours any more.
            StoreUnavailable: it cannot be opened in time.
        """
        file, connection = self.take(until)
        sound = True
        try:
            yield file, connection
        except sqlite3.Error as error:
            sound = is_busy(error)  # or it may be of no use any more
            raise
        finally:
            if sound:
                self._give_back(file, connection)
            else:
                self.drop(file, connection)

    def take(self, until: float) -> tuple[File, Connection]:
        """Hand out a connection, to be ended with `drop`; raises what `connection` does."""
        self.check_open()
        file = self._file
        if file is None or not self.holds(file):
            try:
                file = self._open_file(until)
            except ConfigurationError as error:
                raise StoreRefused(str(error)) from error
        with self._lock:
            if file.idle:
                return file, file.idle.pop()
        connection = self._connect(until)
        if not self.holds(file):
            self._end(connection, harmless=False)
            raise StoreUnavailable(f"{self.path} is being replaced")
        return file, connection

    def drop(self, file: File, connection: Connection) -> None:
        """End a connection for good."""
        try:
            self._end(connection, harmless=self.holds(file))
        except StoreUnavailable:
            self._end(connection, harmless=False)

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed when its call ends."""
        if self.is_forked:
            return
        with self._lock:
            self._closed.set()
            file, self._file = self._file, None
        self._drop_idle(file)

    def end_in_child(self) -> AbstractSet[Identity]:
        """Make it inert in a forked child; see `forks.Inheritance`."""
        self.is_forked = True
        for connection in tuple(self._open):
            connection.keep_for_ever()
        return self._identities if self._open else frozenset()

    def _check_file(self) -> None:
        try:
            self._open_file(clock.now() + min(_CHECK, remaining_budget()))
        except StoreUnavailable:
            pass  # busy, which may be over when it is needed
        except sqlite3.Error as error:
            if not is_busy(error):
                raise ConfigurationError(
                    f"{self.path} cannot be used as a database ({error}): name another file, or"
                    " one that does not exist yet"
                ) from error

    def _give_back(self, file: File, connection: Connection) -> None:
        with self._lock:
            fits = (
                file is self._file
                and len(file.idle) < _MOST_IDLE
                and not connection.in_transaction  # it could not even be rolled back
            )
            if fits:
                file.idle.append(connection)
        if not fits:
            self.drop(file, connection)

    def _open_file(self, until: float) -> File:
        if not self._opening.acquire(timeout=max(0.0, until - clock.now())):
            raise StoreUnavailable(f"opening {self.path} takes too long")
        try:
            old = self._file
            if old is not None and self.holds(old):
                return old  # another thread was first
            with self._location.locked(until):
                self._location.clear_beside({} if old is None else old.beside)
                self._location.create()
                file = self._new_file(until)
            with self._lock:
                if not self._closed.is_set():
                    self._file = file
            self._drop_idle(file if self._closed.is_set() else old)
            self.check_open()
            return file
        finally:
            self._opening.release()

    def _new_file(self, until: float) -> File:
        before = self._location.identity()
        if is_inherited(before):
            raise ConfigurationError(
                f"a parent of this process had {self.path} open when it was forked, and SQLite"
                " would mix up their locks: open the store after the fork only, or start this"
                " process anew (multiprocessing: 'spawn')"
            )
        if before is not None:
            self._identities.add(before)
        connection = self._connect(until)
        try:
            prepare(connection, str(self.path), until)
            found = self._location.identity()
            if found is None or before not in {None, found}:
                raise StoreUnavailable(f"{self.path} is being replaced")
            self._identities.add(found)
            return File(found, self._location.beside(), [connection])
        except BaseException:
            self._end(connection, harmless=before in {None, self._location.identity()})
            raise

    def _drop_idle(self, file: File | None) -> None:
        if file is not None:
            with self._lock:
                idle, file.idle = file.idle, []
            for connection in idle:
                self.drop(file, connection)

    def _connect(self, until: float) -> Connection:
        connection = Connection(self.path)
        with self._lock:
            self._open.add(connection)
        try:
            patiently(lambda: configure(connection), until)
        except BaseException:
            self._end(connection, harmless=True)
            raise
        return connection

    def _end(self, connection: Connection, *, harmless: bool) -> None:
        if harmless:
            connection.close()
        else:
            connection.keep_for_ever()
        with self._lock:
            self._open.discard(connection)
