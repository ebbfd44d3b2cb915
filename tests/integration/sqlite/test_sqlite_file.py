"""Changes of the database file: deleted, replaced or damaged; and a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leadership_core.backend.clock import now
from leadership_core.backend.entries import Entry
from leadership_core.errors import SessionLost, StoreRefused, StoreUnavailable
from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.write_queue import Ticket, WriteQueue
from tests.support.waiting import Seen
from tests.unit.stores_harness import FakeClock, sqlite_store

ROOT = Path(__file__).parents[3]


def beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def delete_it(path: Path) -> None:
    path.unlink()


def delete_all_of_it(path: Path) -> None:
    for file in (path, *beside(path)):
        file.unlink()


def put_another_there(path: Path) -> None:
    """Replace it by `mv other.db leadership.db`, which leaves the old log beside it."""
    other = path.with_name("other.db")
    new = sqlite_store(other, FakeClock())
    new.put("new", b"")
    new.close()
    other.replace(path)


def put_a_copy_there(path: Path) -> None:
    """Replace it by a backup, which contains all rows of the sessions."""
    copy = path.with_name("copy.db")
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    copy.replace(path)


REPLACEMENTS = [delete_it, delete_all_of_it, put_another_there, put_a_copy_there]


@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda f: f.__name__)
def test_replaced_file_loses_its_sessions(
    stores: tuple[SqliteStore, SqliteStore], path: Path, replace: object
) -> None:
    """A renewal raises SessionLost, and no write with that session succeeds, not even in a copy."""
    assert callable(replace)
    one, two = stores
    session = one.open_session(60)
    one.put("leader", b"", session=session)
    two.get("leader")

    replace(path)

    with pytest.raises(SessionLost, match="replaced"):
        session.renew()
    with pytest.raises(SessionLost):
        one.put("leader", b"", session=session)
    session.close()


@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda f: f.__name__)
def test_election_goes_on_in_the_replacing_file(
    stores: tuple[SqliteStore, SqliteStore], path: Path, clock: FakeClock, replace: object
) -> None:
    """Both stores use the new file, which is intact, also after both were closed."""
    assert callable(replace)
    one, two = stores
    one.put("old", b"", session=one.open_session(60))
    two.put("leader", b"", session=two.open_session(60))

    replace(path)
    clock.advance(61)

    entry = one.put("leader", b"one", session=one.open_session(60))
    assert two.get("leader") == entry
    assert two.get("old") is None
    assert (two.get("new") is not None) == (replace is put_another_there)
    for n in range(20):
        (one, two)[n % 2].put(f"n/{n}", bytes(10_000))
    assert len(two.list("n")) == 20
    one.close()
    two.close()
    third = sqlite_store(path, clock)
    assert len(third.list("n")) == 20
    assert third.get("leader") == entry
    third.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda f: f.__name__)
def test_watch_follows_to_the_replacing_file(
    stores: tuple[SqliteStore, SqliteStore], path: Path, clock: FakeClock, replace: object
) -> None:
    """It reports the content of the new file and its changes, and no outage."""
    assert callable(replace)
    one, two = stores
    seen = Seen()
    watch = one.watch("leader", seen)
    seen.wait_for(one.put("leader", b"old", session=two.open_session(5)))

    clock.advance(5)
    replace(path)

    seen.wait_for(None)
    seen.wait_for(two.put("leader", b"new"))
    watch.close()
    assert not any(isinstance(change, StoreUnavailable) for change in seen)


def test_write_to_a_file_removed_meanwhile_fails(path: Path) -> None:
    """Neither the write nor the renewal counts."""
    calls: list[str] = []

    def clock() -> float:
        if calls:
            path.unlink()
            calls.clear()
        return 1000.0

    store = sqlite_store(path, clock)
    session = store.open_session(60)

    calls.append("go now")
    with pytest.raises(SessionLost, match="replaced"):
        session.renew()
    calls.append("go now")
    with pytest.raises(StoreUnavailable, match="replaced"):
        store.put("a", b"")
    assert store.get("a") is None
    store.close()


def test_connections_to_a_replaced_file_are_leaked(
    stores: tuple[SqliteStore, SqliteStore], path: Path
) -> None:
    """Closing the last one would make some versions of SQLite delete the new file's log."""
    one, _ = stores
    one.put("a", b"1")
    file, connection = one.database.take(now() + 1)
    other = one.database.take(now() + 1)
    one.database.drop(*other)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        other[1].rows("SELECT 1")

    path.unlink()
    one.put("a", b"2")
    one.database.drop(file, connection)
    one.close()
    assert connection.value("SELECT value FROM entries") == b"1"


def test_concurrent_writers_find_the_same_new_file(
    stores: tuple[SqliteStore, SqliteStore], path: Path
) -> None:
    """Writers that run while the file is deleted again and again end up in one file."""
    one, two = stores
    stop = threading.Event()
    troubles: list[Exception] = []

    def write(store: SqliteStore, key: str) -> None:
        while not stop.is_set():
            try:
                store.put(key, b"")
            except StoreUnavailable as error:
                troubles.append(error)

    writers = [
        threading.Thread(target=write, args=(store, f"{key}"))
        for key, store in enumerate((one, two, one, two))
    ]
    for writer in writers:
        writer.start()
    for _ in range(10):
        time.sleep(0.02)
        path.unlink(missing_ok=True)
    stop.set()
    for writer in writers:
        writer.join(5)

    assert not any(isinstance(error, StoreRefused) for error in troubles), troubles
    last = one.put("last", b"")
    assert two.get("last") == last
    one.close()
    two.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def test_folder_that_comes_back_keeps_its_write_ahead_log(
    stores: tuple[SqliteStore, SqliteStore], path: Path
) -> None:
    """A call that waits meanwhile finds the same file again, and deletes nothing beside it."""
    one, _ = stores
    entry = one.put("a", b"")
    away = path.parent.with_name("away")
    path.parent.rename(away)
    found: list[Entry | None] = []
    waiting = threading.Thread(target=lambda: found.append(one.get("a")))
    waiting.start()
    time.sleep(0.1)  # it waits for the lock file
    away.rename(path.parent)
    waiting.join(10)
    assert found == [entry]
    assert one.put("b", b"").revision > entry.revision


def test_missing_folder_is_an_outage(stores: tuple[SqliteStore, SqliteStore], path: Path) -> None:
    """With an unmounted disk calls fail and watches report it once; all recover when it is back."""
    one, _ = stores
    entry, seen = one.put("a", b""), Seen()
    watch = one.watch("a", seen)
    seen.wait_for(entry)
    away = path.parent.with_name("away")
    path.parent.rename(away)

    with pytest.raises(StoreUnavailable):
        one.get("a")
    seen.wait(lambda change: isinstance(change, StoreUnavailable))
    began, spent = time.monotonic(), time.process_time()
    late = one.watch("b", other := Seen())  # it reports the outage, too, and polls no faster
    other.wait(lambda change: isinstance(change, StoreUnavailable))
    time.sleep(0.3)
    share = (time.process_time() - spent) / (time.monotonic() - began)
    away.rename(path.parent)

    seen.wait_for(entry)
    assert one.get("a") == entry
    other.wait_for(None)
    watch.close()
    late.close()
    assert share < 0.2
    assert [isinstance(change, StoreUnavailable) for change in seen] == [
        False,
        True,
        False,
    ]


def test_damaged_database_is_refused(
    stores: tuple[SqliteStore, SqliteStore], path: Path, clock: FakeClock
) -> None:
    """The error is lasting, and a watch reports it."""
    one, two = stores
    for n in range(50):
        one.put(f"n/{n}", bytes(2000))
    one.close()
    two.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))

    store, seen = sqlite_store(path, clock), Seen()
    watch = store.watch("n/1", seen)
    with pytest.raises(StoreRefused):
        store.get("n/1")
    with pytest.raises(StoreRefused):
        store.put("n/1", b"")
    seen.wait(lambda change: isinstance(change, StoreRefused))
    watch.close()
    store.close()


_FULL = """
import resource, sys
from leadership_core.errors import StoreUnavailable
from leadership_core.stores.sqlite import leadership_open_store
from leadership_core.backend.url import StoreURL

store = leadership_open_store(StoreURL.parse("sqlite:///" + sys.argv[1]))
session = store.open_session(60)
kept = store.put("kept", b"", session=session)
none, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, none))
try:
    store.put("large", bytes(1 << 20))
except StoreUnavailable as error:
    print(error)
assert store.get("large") is None
assert store.get("kept") == kept
session.renew()
resource.setrlimit(resource.RLIMIT_FSIZE, (none, none))
store.put("large", bytes(1 << 20))
session.renew()
store.close()
print("went on")
"""


def test_full_disk_is_an_outage(path: Path) -> None:
    """The write that does not fit is not stored, all others are, and the store recovers."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.stdout.splitlines()[-1:] == ["went on"], done.stderr
    assert "could not be accessed" in done.stdout


def test_write_queue_passes_on_a_turn_after_a_timeout() -> None:
    """The turn came at the moment in which the waiting thread gave up."""
    queue, late = WriteQueue[None](), Ticket[None]()
    with queue.turn(urgent=False, deadline=now()):
        queue._queue.append(late)
    assert late.has_turn

    queue._leave(late)

    with queue.turn(urgent=False, deadline=now()):
        pass
