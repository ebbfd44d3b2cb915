"""Changes of the database file: deleted, replaced or damaged; and a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core.backend.clock import now
from leadership_core.backend.entries import Change, Entry
from leadership_core.errors import SessionLost, StoreRefused, StoreUnavailable
from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.change_detector import ChangeDetector
from leadership_core.stores.sqlite.transactions import key_span, tree_span
from leadership_core.stores.sqlite.write_queue import Ticket, WriteQueue
from tests.support.waiting import Seen, at_most, eventually, has_value
from tests.unit.stores_harness import FakeClock, sqlite_store

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def stores(path: Path, clock: FakeClock) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores of one path."""
    one, two = sqlite_store(path, clock), sqlite_store(path, clock)
    yield one, two
    one.close()
    two.close()


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


# -- costs of watches -------------------------------------------------------------------------


def pollers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "leadership-sqlite-watch"]


def test_watch_thread_runs_only_with_a_watch(
    stores: tuple[SqliteStore, SqliteStore],
) -> None:
    """A store has one thread for all watches, none before the first and none after the last."""
    one, _ = stores
    one.open_session(60)
    assert pollers() == []
    for _ in range(2):
        watches = [one.watch(f"k/{n}", Seen()) for n in range(20)]
        (poller,) = pollers()
        for watch in watches:
            watch.close()
        poller.join(1)
        assert pollers() == []


def test_close_ends_the_watch_thread(stores: tuple[SqliteStore, SqliteStore]) -> None:
    """The thread and its connection have ended when close returns."""
    one, _ = stores
    one.watch("a", Seen())
    one.watch("b", Seen(), tree=True)

    one.close()
    assert pollers() == []


def test_close_does_not_wait_for_a_thread_that_cannot_start(
    stores: tuple[SqliteStore, SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits for it without end when memory runs out in its first steps; nor do other watches."""
    one, two = stores
    starting, go_on, start = threading.Event(), threading.Event(), threading.Thread.start

    def hang(thread: threading.Thread) -> None:
        if thread.name == "leadership-sqlite-watch" and not starting.is_set():
            starting.set()
            go_on.wait(30)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", hang)
    watcher = threading.Thread(target=one.watch, args=("a", Seen()))
    start(watcher)
    try:
        assert starting.wait(5)
        seen = Seen()
        one.watch("b", seen)
        two.put("b", b"1")
        seen.wait(has_value(b"1"))
        closer = threading.Thread(target=one.close)
        start(closer)
        closer.join(at_most(5))
        assert not closer.is_alive()
    finally:
        go_on.set()
        watcher.join()
    assert eventually(lambda: pollers() == [])


def test_watch_callback_may_close_the_store(stores: tuple[SqliteStore, SqliteStore]) -> None:
    """The callback runs in the watch thread, which does not wait for itself."""
    one, _ = stores
    closed = threading.Event()

    def close(_: Change) -> None:
        one.close()
        closed.set()

    one.watch("a", close)
    assert closed.wait(3)
    deadline = time.monotonic() + 2
    while pollers() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert pollers() == []


def test_watch_reports_an_expiry_within_milliseconds(path: Path) -> None:
    """It does so by the real clock, without any call, in another store."""
    clock = time.monotonic
    one, two, seen = sqlite_store(path, clock), sqlite_store(path, clock), Seen()
    watch = two.watch("a", seen)
    session = one.open_session(0.5)
    seen.wait_for(one.put("a", b"", session=session))
    began = time.monotonic()
    session.renew()
    latest = time.monotonic()

    seen.wait_for(None)
    ended = time.monotonic()
    assert ended >= began + 0.5
    assert ended <= latest + one.expires_within(0.5) + at_most(0.04)
    watch.close()
    one.close()
    two.close()


def test_renewal_causes_no_read_of_the_watched_keys(
    stores: tuple[SqliteStore, SqliteStore], clock: FakeClock
) -> None:
    """Most writes of the database are renewals."""
    one, two = stores
    session = two.open_session(60)
    watched = {key_span("a"), tree_span("b")}
    detector = ChangeDetector(
        one.database,
        one.executor,
        lambda keys: watched if keys is None else {tree_span(key[:1]) for key in keys},
    )
    assert len(detector.changes()) == 2
    asked: list[str] = []
    detector._connection._sqlite.set_trace_callback(asked.append)

    assert detector.is_quiet()
    clock.advance(1)  # or the row would stay as it is, and SQLite would not even write it
    session.renew()
    assert not detector.is_quiet()
    assert detector.changes() == []
    assert detector.is_quiet()
    assert asked
    assert not any("value" in statement for statement in asked)
    entry = two.put("b/1", b"", session=session)
    ((span, _, entries),) = detector.changes()
    assert (span, entries) == (tree_span("b"), [entry])
    assert any("value" in statement for statement in asked)
    detector.close()


@pytest.mark.parametrize("watched", [100, 1000])
def test_idle_watches_use_little_cpu(stores: tuple[SqliteStore, SqliteStore], watched: int) -> None:
    """A thousand watches, with renewals going on, use a few percent of a core at most."""
    one, two = stores
    session, seen = two.open_session(60), Seen()
    watches = [one.watch(f"k/{n}", seen) for n in range(watched)]
    deadline = time.monotonic() + 3
    while len(seen) < watched and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(seen) == watched

    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() < began + 0.6:
        time.sleep(0.1)
        session.renew()
    share = (time.process_time() - spent) / (time.monotonic() - began)
    for watch in watches:
        watch.close()
    # Measured: 0.5 to 1.5 %. Reading each key each time would take 20 % and more.
    assert share < 0.06
    assert len(seen) == watched


def test_all_writes_but_renewals_are_synchronous(stores: tuple[SqliteStore, SqliteStore]) -> None:
    """A commit that a power cut undoes would let a token be granted twice."""
    store, full = stores[0], 2
    session = store.open_session(10.0)

    for work in (lambda: store.put("key", b"1"), session.renew):
        work()
        with store.database.connection(now() + 1) as (_, connection):
            assert connection.value("PRAGMA synchronous") == full


def test_write_queue_passes_on_a_turn_after_a_timeout() -> None:
    """The turn came at the moment in which the waiting thread gave up."""
    queue, late = WriteQueue[None](), Ticket[None]()
    with queue.turn(urgent=False, deadline=now()):
        queue._queue.append(late)
    assert late.has_turn

    queue._leave(late)

    with queue.turn(urgent=False, deadline=now()):
        pass
