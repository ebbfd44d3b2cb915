"""The path of a database: whether it is usable, and which file it names now.

Nothing here opens the database file itself: a process that closes it by other means than SQLite
drops the locks that SQLite has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...backend import clock
from ...errors import ConfigurationError, StoreRefused, StoreUnavailable
from .platform import refuse_network

__all__ = ["Identity", "Location"]


_MODE = 0o600
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TRANSIENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EINTR, errno.EIO}
"""Errors that end by themselves; any other one, such as EACCES, lasts until an operator acts."""


class Identity(NamedTuple):
    """Device and inode of a file; unique while the file is open."""

    device: int
    inode: int


class Location:
    """The path of a database, and of the files that SQLite puts beside it.

    Args:
        path: absolute, or relative to the current working directory.

    Raises:
        ConfigurationError: no database can be at that path; the message says what to do.
    """

    def __init__(self, path: str) -> None:
        self.path: Path = Path(path).absolute()
        try:
            # SQLite names the files beside it after what a symbolic link points to.
            real = self.path.resolve()
            self._folder = real.parent
            self._check(real)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise ConfigurationError(f"{self.path} cannot be reached: {error}") from error
        self._lock_path = real.with_name(f"{real.name}-lock")
        self._sidecar_paths = [real.with_name(real.name + end) for end in ("-wal", "-shm")]
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
        """Return the identity of the file at the path, None if there is none.

        Raises:
            StoreUnavailable: the file system gives no answer.
        """
        return _identity(self.path)

    def sidecar_files(self) -> dict[Path, Identity | None]:
        """Return the write-ahead log and its index beside the database, None for one that is missing."""
        return {path: _identity(path) for path in self._sidecar_paths}

    def delete_sidecar_files(self, stale: dict[Path, Identity | None]) -> None:
        """Delete the files that a removed database has left behind.

        SQLite would apply them to a new database of that name, and damage it. The caller holds
        `locked`, as every process of this library does before it creates new ones.

        Args:
            stale: the files known to be left over; all are if there is no database at the path.
        """
        gone = self.identity() is None
        for path, found in self.sidecar_files().items():
            if found is not None and (gone or stale.get(path) == found):
                path.unlink(missing_ok=True)

    def create(self) -> None:
        """Create the database file, empty and with mode 600, unless it exists.

        SQLite would leave its mode to the umask, and a user who may read a database can block all
        writers with a shared lock. SQLite gives the same mode to the files beside it. The caller
        holds `locked`.
        """
        try:
            file = os.open(os.path.realpath(self.path), _CREATE | os.O_EXCL, _MODE)
        except OSError:
            return  # it exists, or cannot be created: SQLite reports why
        try:
            os.fchmod(file, _MODE)  # whatever the umask is
        finally:
            # Closing drops the locks of this process on the file; on a new one there are none.
            os.close(file)

    @contextmanager
    def locked(self, deadline: float) -> Iterator[None]:
        """Keep other processes from opening or replacing the database meanwhile.

        The lock is on a file of its own, which users who may only read the database cannot open.

        Args:
            deadline: when to give up, on `clock.now`.

        Raises:
            StoreUnavailable: another process has held it until the deadline, or there is no
                descriptor, memory or disk space left.
            StoreRefused: the lock file cannot be opened for another reason.
        """
        lock = self._lock(deadline)
        try:
            yield
        finally:
            # Deleted while it is held: a waiting process notices, and retries with a new file.
            with contextlib.suppress(OSError, StoreUnavailable):
                if _identity(self._lock_path) == _identity_of(lock):
                    self._lock_path.unlink()
            # Closing is not enough: a fork meanwhile has copied the descriptor.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _lock(self, deadline: float) -> int:
        while True:
            problem: OSError | None = None
            try:
                lock = self._open_lock()
            except OSError as error:
                problem = error  # perhaps another user's, deleted in a moment
            else:
                try:
                    if _flock(lock) and _identity(self._lock_path) == _identity_of(lock):
                        return lock
                except BaseException:
                    os.close(lock)
                    raise
                os.close(lock)
            if clock.now() > deadline:
                if problem is None:
                    raise StoreUnavailable(f"another process keeps {self._lock_path} locked")
                message = f"{self._lock_path} cannot be opened: {problem}"
                if problem.errno in _TRANSIENT:
                    raise StoreUnavailable(message) from problem
                raise StoreRefused(message) from problem
            time.sleep(0.002)  # another process holds the lock, which gives no notice

    def _open_lock(self) -> int:
        lock = os.open(self._lock_path, _CREATE, _MODE)
        with contextlib.suppress(OSError):  # another user's, who has set its mode
            os.fchmod(lock, _MODE)  # whatever the umask is
            # For the users who may write the database, and for no others.
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
        raise StoreUnavailable(f"{path} cannot be examined: {error}") from error
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
