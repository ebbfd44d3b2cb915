"""The path of a database: whether it can serve, and which file is there now.

The file is looked at by name only. A process that opens and closes it by other means than
SQLite drops the locks that SQLite has on it.
"""

from __future__ import annotations

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
        has the folder locked, and each process of this library that would put new ones there
        does so, too.

        Args:
            stale: the files known to be left over; where the path holds no database, all are.
        """
        gone = self.identity() is None
        for path, found in self.beside().items():
            if found is not None and (gone or stale.get(path) == found):
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, until: float) -> Iterator[None]:
        """Keep other processes from opening a database in the folder in the meantime.

        Raises:
            StoreUnavailable: somebody else does so until `until`, on `clock.now`.
        """
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(f"the folder {self._folder} cannot be read: {error}") from error
        try:
            while not _lock(folder):
                if clock.now() > until:
                    raise StoreUnavailable(f"another process keeps {self._folder} locked")
                time.sleep(0.002)
            try:
                yield
            finally:
                # Closing would not do: a fork in the meantime has copied the descriptor.
                fcntl.flock(folder, fcntl.LOCK_UN)
        finally:
            os.close(folder)


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be looked at: {error}") from error
    return Identity(found.st_dev, found.st_ino)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreRefused(f"the folder of the database cannot be locked: {error}") from error
    return True
