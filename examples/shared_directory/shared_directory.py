"""The store `directory:///PATH`: plain files in a directory that programs share.

It has no server, no locks and no clock: it reads, and it writes by comparison. Elections by observation need no more.

    values/REVISION             the key and the value of one write; never changed
    entries/HASH/REVISION       an empty file: the entry of the key with that hash is this write
    entries/HASH/-              the same for a key that was deleted
    new/...                     what is about to become one of these

A directory of `entries` has exactly one file. A write renames it, from the revision that it expects to its own,
and revisions are random numbers that never come again: so of all writes that expect the same entry one finds the
file, as the file system renames it in one step, and a write that comes too late finds nothing, however late it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from leadership_core.backend import (
    ANY,
    Change,
    Closable,
    Conflict,
    Entry,
    Expected,
    Fence,
    NotApplied,
    ObservedElection,
    ObservedSessions,
    PollingWatcher,
    Session,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    StoreURL,
    URLError,
    check_expected,
    check_value,
    clock,
    end_observation,
    hookimpl,
    inert_in_child,
    observed_within,
    remaining_timeout,
)

_DELETED = "-"
_FILE_IS_THERE = {errno.EEXIST, errno.ENOTEMPTY}


@hookimpl
def leadership_open_store(url: StoreURL) -> DirectoryStore | None:
    """Open ``directory:///PATH``."""
    if url.scheme != "directory":
        return None
    url.read_options({})
    if url.hosts or not url.path.strip("/"):
        raise URLError("directory:// has no host and needs a path: directory:///srv/elections")
    return DirectoryStore(Path("/") / url.path)


@inert_in_child(
    "get", "list", "put", "delete", "watch", "open_session", "election", silent=("close",)
)
class DirectoryStore:
    """A store in a directory; thread-safe, and safe with any number of processes."""

    capabilities: frozenset[str] = frozenset()
    expires_by_observation = True

    def __init__(self, root: Path) -> None:
        self._values = root / "values"
        self._entries = root / "entries"
        self._new = root / "new"
        self._closed = False
        self._watcher = PollingWatcher(self._read_states, pause=0.1)
        self._sessions = ObservedSessions(self)

    # -- elections: both parts are the core's ------------------------------------------------

    def open_session(self, ttl: float) -> Session:
        return self._sessions.open(ttl)

    def election(self, key: str) -> ObservedElection:
        return ObservedElection(self, key, self._sessions)

    def expires_within(self, ttl: float) -> float:
        return observed_within(ttl)

    # -- reads ---------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self._read(self._folder(key))

    def list(self, prefix: str) -> list[Entry]:
        start = f"{prefix}/" if prefix else ""
        with _mapped():
            folders = sorted(self._entries.iterdir()) if self._entries.exists() else []
        found = [entry for one in folders if (entry := self._read(one)) is not None]
        return sorted((one for one in found if one.key.startswith(start)), key=lambda it: it.key)

    def _read(self, folder: Path) -> Entry | None:
        """Read the entry; a write may come between the two steps, and then both are done again."""
        until = clock.now() + remaining_timeout()
        while clock.now() < until:
            if self._closed:
                raise StoreClosed("the store is closed")
            with _mapped(), suppress(FileNotFoundError):
                try:
                    names = [one.name for one in folder.iterdir()]
                except FileNotFoundError:
                    return None
                # During a rename a listing may have both names, or none.
                if names == [_DELETED]:
                    return None
                if len(names) == 1:
                    key, _, value = (self._values / names[0]).read_bytes().partition(b"\n")
                    return Entry(key.decode(), value, int(names[0]))
            time.sleep(0.001)
        raise StoreUnavailable(f"{folder} changes all the time")

    # -- writes --------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        entry = Entry(key, check_value(value), uuid.uuid4().int >> 65)
        self._write_value(entry)
        try:
            replaced = self._replace(key, str(entry.revision), expect)
        except (Conflict, NotApplied):
            self._forget(str(entry.revision))
            raise
        self._forget(replaced)
        return entry

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        if self.get(key) is None:
            return False
        self._forget(self._replace(key, _DELETED, expect))
        if f"/{key}".rpartition("/")[0].endswith("/.sessions"):
            # The id of a session never comes again, so nothing is ever written here.
            self._remove(self._folder(key))
        return True

    def _replace(self, key: str, new: str, expect: Expected) -> str:
        """Rename the one file of the entry; returns its name before that."""
        folder = self._folder(key)
        until = clock.now() + remaining_timeout()
        while clock.now() < until:
            current = self.get(key)
            check_expected(key, current, expect)
            if current is None and new == _DELETED:
                return ""
            old = _DELETED if current is None else str(current.revision)
            with _mapped():
                if current is None and not folder.exists():
                    if self._create(folder, new):
                        return ""
                    continue
                try:
                    (folder / old).rename(folder / new)
                except FileNotFoundError:
                    continue  # another write was first: read, and compare again
                _sync(folder)
                return old
        raise NotApplied(f"{key!r} changes all the time")

    def _remove(self, folder: Path) -> None:
        """Remove the directory of a key: in one step, so that there is never one without a file."""
        out = self._new / uuid.uuid4().hex
        with suppress(OSError):  # another deletion has done it
            self._new.mkdir(parents=True, exist_ok=True)
            folder.rename(out)
            shutil.rmtree(out, ignore_errors=True)

    def _create(self, folder: Path, name: str) -> bool:
        """Make the directory of a key that never was; False if another write has made it."""
        made = self._new / name
        made.mkdir(parents=True)
        (made / name).touch()
        self._entries.mkdir(parents=True, exist_ok=True)
        try:
            made.rename(folder)  # fails if it is there, as it has a file then
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            if error.errno in _FILE_IS_THERE:
                return False
            raise
        _sync(self._entries)
        return True

    def _write_value(self, entry: Entry) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")
        try:
            self._values.mkdir(parents=True, exist_ok=True)
            with (self._values / str(entry.revision)).open("xb") as file:
                file.write(entry.key.encode() + b"\n" + entry.value)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._forget(str(entry.revision))
            raise NotApplied(f"cannot write below {self._values}: {error}") from error

    def _forget(self, name: str) -> None:
        if name and name != _DELETED:
            with suppress(OSError):
                (self._values / name).unlink()

    def _folder(self, key: str) -> Path:
        return self._entries / hashlib.sha256(key.encode()).hexdigest()

    # -- the rest ------------------------------------------------------------------------------

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._watcher.add(key, on_change, tree=tree)

    def _read_states(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        return [self.list(key) if tree else self.get(key) for key, tree in watched]

    def close(self) -> None:
        self._closed = True
        end_observation(self._sessions)
        self._watcher.close()


class _mapped:  # noqa: N801 - reads as a statement
    """Turns what the file system raises into the errors of a store."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, PermissionError):
            raise StoreRefused(f"no access: {error}") from error
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise StoreUnavailable(f"the file system: {error}") from error


def _sync(folder: Path) -> None:
    """Wait until the names in the directory are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
