"""The path of a database: whether it can serve, and which file is there now.

The file is looked at by name only. A process that opens and closes it by other means than
SQLite drops the locks that SQLite has on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import clock
from ..errors import ConfigurationError, StoreRefused, StoreUnavailable
from .host import refuse_network

__all__ = ["Identity", "Location"]


_MODE = 0o600
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Identity(NamedTuple):
    """Which file it is, whatever its name; no other one has the same while it is open."""

    device: int
    inode: int


class Location:
    """Where the database is, and the files that SQLite puts beside it.

    Args:
        path: absolute, or relative to the working directory of now.

    Raises:
        ConfigurationError: no database can be there; the message says what to do.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        try:
            # SQLite names the files beside it after what a symbolic link points to.
            real = self.path.resolve()
            self._folder = real.parent
            self._check(real)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise ConfigurationError(f"{self.path} cannot be reached: {error}") from error
        self._lock_path = real.with_name(f"{real.name}-lock")
        self._beside = [real.with_name(real.name + end) for end in ("-wal", "-shm")]
        refuse_network(self._folder)

    def _check(self, real: Path) -> None:
        if real.is_dir():
            raise ConfigurationError(
                f"{self.path} is a folder: write the name of a file in it, {self.path}/leadership.db"
            )
        if not self._folder.is_dir():
            raise ConfigurationError(f"there is no folder {self._folder}: create it first")
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the folder {self._folder} must be readable and writable for this user: SQLite"
                " keeps files beside the database"
            )
        if real.exists() and not (real.is_file() and os.access(real, os.R_OK | os.W_OK)):
            raise ConfigurationError(
                f"{self.path} must be a file that this user may read and write"
            )

    def identity(self) -> Identity | None:
        """Return which file is at the path, None if there is none.

        Raises:
            StoreUnavailable: that cannot be told.
        """
        return _identity(self.path)

    def beside(self) -> dict[Path, Identity | None]:
        """Return which files SQLite has put beside the database."""
        return {path: _identity(path) for path in self._beside}

    def clear_beside(self, stale: dict[Path, Identity | None]) -> None:
        """Delete what a database that is no longer there has left beside it.

        With another database SQLite would take them for that one's, and damage it. The caller
        has it locked, and each process of this library that would put new ones there
        does so, too.

        Args:
            stale: the files known to be left over; where the path holds no database, all are.
        """
        gone = self.identity() is None
        for path, found in self.beside().items():
            if found is not None and (gone or stale.get(path) == found):
                path.unlink(missing_ok=True)

    def create(self) -> None:
        """Create the database file, empty and for this user alone, unless it is there.

        SQLite would leave its mode to the umask, and whoever may read a database may stop all who
        write it by a shared lock. The files beside it get its mode. The caller has it locked.
        """
        try:
            file = os.open(os.path.realpath(self.path), _CREATE | os.O_EXCL, _MODE)
        except OSError:
            return  # it is there, or cannot be made: SQLite says why
        try:
            os.fchmod(file, _MODE)  # whatever the umask is
        finally:
            # Closing drops the locks of this process on the file; on a new one there are none.
            os.close(file)

    @contextmanager
    def locked(self, until: float) -> Iterator[None]:
        """Keep other processes from opening the database in the meantime.

        The lock is on a file of its own that those who may only read the database cannot open.

        Raises:
            StoreUnavailable: another process has it locked until `until`, on `clock.now`.
            StoreRefused: the lock file cannot be opened.
        """
        lock = self._lock(until)
        try:
            yield
        finally:
            # Deleted while it is held: who waits for it sees that, and tries again with a new one.
            with contextlib.suppress(OSError, StoreUnavailable):
                if _identity(self._lock_path) == _identity_of(lock):
                    self._lock_path.unlink()
            # Closing would not do: a fork in the meantime has copied the descriptor.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _lock(self, until: float) -> int:
        while True:
            problem: OSError | None = None
            try:
                lock = self._open_lock()
            except OSError as error:
                problem = error  # another user's, perhaps, who deletes it in a moment
            else:
                try:
                    if _flock(lock) and _identity(self._lock_path) == _identity_of(lock):
                        return lock
                except BaseException:
                    os.close(lock)
                    raise
                os.close(lock)
            if clock.now() > until:
                if problem is None:
                    raise StoreUnavailable(f"another process keeps {self._lock_path} locked")
                raise StoreRefused(f"{self._lock_path} cannot be opened: {problem}") from problem
            time.sleep(0.002)

    def _open_lock(self) -> int:
        lock = os.open(self._lock_path, _CREATE, _MODE)
        with contextlib.suppress(OSError):  # it is another user's, who has done so
            os.fchmod(lock, _MODE)  # whatever the umask is
            # For all who may write the database, and for no one else.
            database = self.path.stat()
            writers = database.st_mode & 0o022
            os.fchmod(lock, _MODE | writers | writers << 1)
            if os.geteuid() == 0:
                os.fchown(lock, database.st_uid, database.st_gid)
        return lock


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be looked at: {error}") from error
    return Identity(found.st_dev, found.st_ino)


def _identity_of(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return Identity(found.st_dev, found.st_ino)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreRefused(f"the lock file of the database cannot be locked: {error}") from error
    return True
