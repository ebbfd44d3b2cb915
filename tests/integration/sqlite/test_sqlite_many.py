"""What writes and watches cost where there are many of them, counted in statements."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.clock import now
from leadership_core.backend.entries import ABSENT, Entry
from leadership_core.backend.fence import Fence
from leadership_core.errors import Conflict, Fenced, SessionLost
from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.change_detector import ChangeDetector
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.transactions import key_span, tree_span
from leadership_core.stores.sqlite.watch import POLL_INTERVAL
from tests.support.waiting import Seen, wait_until
from tests.unit.stores_harness import FakeClock, sqlite_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = sqlite_store(path, FakeClock())
    yield store
    store.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All statements that are executed from now on, in all threads."""
    executed: list[str] = []
    for name in ("rows", "change"):
        method = getattr(Connection, name)

        def noted(
            self: Connection,
            statement: str,
            *values: object,
            method: Callable[..., object] = method,
        ) -> object:
            executed.append(statement)
            return method(self, statement, *values)

        monkeypatch.setattr(Connection, name, noted)
    return executed


def run_together(store: SqliteStore, calls: list[Callable[[], object]]) -> list[object]:
    """Make the calls in a thread each, all waiting for the same turn; returns results and errors."""
    results: list[object] = [None] * len(calls)

    def make(number: int) -> None:
        try:
            results[number] = calls[number]()
        except Exception as error:  # noqa: BLE001 - the test compares it
            results[number] = error

    queue = store.executor._write_queue
    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    with queue.turn(urgent=False, deadline=now() + 5):
        for number, thread in enumerate(threads):
            thread.start()
            while len(queue._queue) <= number:
                thread.join(0.001)
    for thread in threads:
        thread.join(10)
    return results


def test_writes_that_wait_are_committed_together(store: SqliteStore, statements: list[str]) -> None:
    """Sixty threads write sixty keys in one transaction, and each has a revision of its own."""
    store.put("before", b"")
    statements.clear()
    puts = [lambda n=n: store.put(f"k/{n}", b"", expect=ABSENT) for n in range(60)]
    entries = run_together(store, puts)  # type: ignore[arg-type]  # mypy infers no lambda with defaults
    assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
    assert sorted(store.list("k"), key=lambda entry: entry.revision) == entries
    assert len({entry.revision for entry in store.list("")}) == 61


def test_writes_of_one_commit_have_outcomes_of_their_own(store: SqliteStore) -> None:
    """One that is refused leaves nothing behind, and the others are written."""
    store.put("leader", b"")
    calls: list[Callable[[], object]] = [
        lambda: store.put("claim", b"first", expect=ABSENT),
        lambda: store.put("claim", b"second", expect=ABSENT),
        lambda: store.put("fenced", b"", fence=Fence("leader", 999)),
        lambda: store.put("bound", b"", session=lost),
        lambda: store.delete("missing"),
        lambda: store.delete("leader"),
        lambda: store.put("other", b""),
    ]
    lost = store.open_session(10)
    lost.close()
    first, second, fenced, bound, missing, deleted, other = run_together(store, calls)
    assert isinstance(first, Entry)
    assert isinstance(second, Conflict)
    assert isinstance(fenced, Fenced)
    assert isinstance(bound, SessionLost)
    assert (missing, deleted) == (False, True)
    assert isinstance(other, Entry)
    assert store.list("") == [first, other]
    assert (first.value, first.revision < other.revision) == (b"first", True)


def test_commit_that_fails_fails_every_write_in_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is taken for done, and each error is one of the thread that raises it."""
    method = Connection.change

    def fail(self: Connection, statement: str, *values: tuple[object, ...]) -> int:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return method(self, statement, *values)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "change", fail)
        puts = [
            lambda: store.put("a", b""),
            lambda: store.put("b", b""),
            lambda: store.put("c", b""),
        ]
        errors = run_together(store, puts)  # type: ignore[arg-type]  # a list of other lambdas
    assert [str(error) for error in errors] == [
        "the database could not be accessed: disk I/O error"
    ] * 3
    assert len(set(map(id, errors))) == 3
    assert store.list("") == []
    store.put("a", b"")


def test_election_costs_one_write_and_few_reads(path: Path, statements: list[str]) -> None:
    """Three hundred elections are 300 writes in as many transactions at most, on one session."""
    with open_store(f"sqlite:///{path}") as store:
        candidates = [Candidate(store, f"jobs/{n}/leader", "me", ttl=60) for n in range(300)]
        for candidate in candidates:
            candidate.start()
        wait_until(lambda: all(candidate.is_leader for candidate in candidates), 60, "all lead")
        wait_until(lambda: _reads(statements) >= 600, 60, "each is watched")
        # Before the claim is made, and by its watch: once each. The rest opens the session.
        assert _reads(statements) <= 660
        assert statements.count("BEGIN IMMEDIATE") <= 310
        assert len([one for one in threading.enumerate() if "leadership" in one.name]) <= 9


def _reads(statements: list[str]) -> int:
    return sum(
        statement.startswith("SELECT") and "key, value" in statement for statement in statements
    ) - sum(
        statement.startswith("INSERT INTO entries") for statement in statements
    )  # a write reads the entry before


def test_change_of_one_key_costs_the_same_among_many_watches(
    store: SqliteStore, statements: list[str]
) -> None:
    """With two thousand watched keys a poll reads the one that has changed."""
    keys = [f"jobs/{number}/leader" for number in range(2000)]
    for key in keys:
        store.executor.execute(lambda _, transaction, key=key: transaction.put(key, b"", None))  # type: ignore[misc]  # mypy infers no lambda with defaults
    spans = {key: key_span(key) for key in keys}
    detector = ChangeDetector(
        store.database,
        store.executor,
        lambda changed: spans.values() if changed is None else [spans[key] for key in changed],
    )
    assert len(detector.changes()) == 2000
    store.put(keys[7], b"new")
    statements.clear()
    (found,) = detector.changes()
    assert found.span == key_span(keys[7])
    assert len(statements) <= 8
    store.delete(keys[8])
    (found,) = detector.changes()
    assert (found.span, found.entries) == (key_span(keys[8]), [])
    detector.close()


def test_transactions_do_not_scan_the_entries(store: SqliteStore, statements: list[str]) -> None:
    """A write and a poll cost the same with ten thousand entries as with one."""
    session = store.open_session(60)
    detector = ChangeDetector(store.database, store.executor, lambda _: [key_span("a")])
    statements.clear()
    store.put("a", b"", session=session)
    detector.changes()
    with store.database.connection(now() + 1) as (_, connection):
        for statement in [one for one in statements if one.startswith(("SELECT", "WITH"))]:
            plan = connection.rows(
                f"EXPLAIN QUERY PLAN {statement}", (None,) * statement.count("?")
            )
            assert not any("SCAN entries" in step[3] or "SCAN changes" in step[3] for step in plan)
    detector.close()


def test_watch_of_a_written_key_needs_no_second_poll(
    store: SqliteStore, statements: list[str]
) -> None:
    """The present state is reported by the thread that starts the watch."""
    entry = store.put("a", b"")
    seen = Seen()
    watch = store.watch("a", seen)
    assert list(seen) == [entry]
    watch.close()


class Bell:
    """The lock that the polling thread waits for; waits for less than it should, and notes for how long."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.release = self.lock.release
        self.pauses: list[float] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.pauses.append(timeout)
        return self.lock.acquire(timeout=min(timeout, 0.0001)) if blocking else False


def test_poll_of_an_idle_database_is_one_statement_and_ever_rarer(
    store: SqliteStore, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is polled a hundred times a second for some seconds after a change, then fifty times."""
    bell, seen = Bell(), Seen()
    monkeypatch.setattr(store._watches, "_bell", bell)
    watch = store.watch("a", seen)
    wait_until(lambda: bell.pauses[-1:] == [POLL_INTERVAL], 20, "it is quiet")
    long = [number for number, pause in enumerate(bell.pauses) if pause > 0.0101]
    assert POLL_INTERVAL == 0.02
    assert 3 <= sum(bell.pauses[: long[0]]) < 3.1
    assert bell.pauses[long[0] :] == sorted(bell.pauses[long[0] :])

    polls = len(bell.pauses)
    statements.clear()
    wait_until(lambda: len(bell.pauses) >= polls + 500, 20, "it was polled")
    assert set(statements) == {"PRAGMA data_version"}
    assert 499 <= len(statements) <= len(bell.pauses) - polls + 1

    polls = len(bell.pauses)
    store.put("a", b"")
    seen.wait(lambda change: isinstance(change, Entry))
    wait_until(lambda: 0.005 in bell.pauses[polls:], 20, "it is polled often again")
    watch.close()


def test_file_of_an_earlier_release_gets_its_log_of_changes(path: Path) -> None:
    """Watches then notice what that release, and an operator with a shell, writes to the file."""
    before = sqlite_store(path, FakeClock())
    before.put("a", b"1")
    before.close()
    with closing(sqlite3.connect(path)) as database:
        for name in ("entry_created", "entry_written", "entry_deleted", "changes_trimmed"):
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DROP TABLE changes")
    store, seen, tree = sqlite_store(path, FakeClock()), Seen(), Seen()
    watches = [store.watch("a", seen), store.watch("", tree, tree=True)]
    seen.wait(lambda change: isinstance(change, Entry))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM entries WHERE key = 'a'")
        seen.wait_for(None)
        tree.wait_for([])
        database.execute("INSERT INTO entries VALUES ('a', x'32', 99, NULL)")
        seen.wait(lambda change: isinstance(change, Entry) and change.value == b"2")
    for watch in watches:
        watch.close()
    store.close()


def test_detector_that_is_far_behind_reads_everything(store: SqliteStore) -> None:
    """The log is trimmed: what was removed from it may concern any span."""
    spans = [key_span("a"), tree_span("b")]
    detector = ChangeDetector(
        store.database, store.executor, lambda keys: spans if keys is None else []
    )
    detector.changes()
    with store.executor.write() as (_, transaction):
        for _ in range(9300):
            transaction.put("c", b"", None)
    assert {found.span for found in detector.changes()} == set(spans)
    with store.database.connection(now() + 1) as (_, connection):
        assert connection.value("SELECT count(*) FROM changes") < 9000
    store.put("c", b"")
    assert detector.changes() == []
    detector.close()


def test_detector_reports_a_new_span_after_a_call_that_could_read_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sessions go on to expire while they are deleted, the next call reads what this one could not."""
    spans = [key_span("a")]
    detector = ChangeDetector(
        store.database, store.executor, lambda keys: spans if keys is None else []
    )
    detector.changes()
    store.open_session(1.0)
    detector.changes()
    with monkeypatch.context() as patched:
        patched.setattr(store.executor, "expire", lambda: None)
        patched.setattr(store.executor, "now", lambda: float("inf"))
        assert detector.changes([key_span("b")]) == []

    assert [found.span for found in detector.changes()] == [key_span("b")]
    detector.close()
