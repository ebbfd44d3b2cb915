"""Commits of the SQLite store: which wait for the disk, and which share one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.clock import now
from leadership_core.backend.entries import ANY
from leadership_core.errors import Conflict
from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.write_queue import Ticket, WriteQueue
from tests.support.waiting import eventually
from tests.unit.stores_harness import FakeClock, sqlite_store

_NORMAL, _FULL = 1, 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    one = sqlite_store(tmp_path / "leadership.db", FakeClock())
    yield one
    one.close()


def note_commits(monkeypatch: pytest.MonkeyPatch, statement: str) -> list[int]:
    """Note the value of `PRAGMA synchronous` at each such statement."""
    seen: list[int] = []
    change = Connection.change

    def noted(self: Connection, executed: str, *values: tuple[object, ...]) -> int:
        if executed.startswith(statement):
            seen.append(self.value("PRAGMA synchronous"))
        return change(self, executed, *values)

    monkeypatch.setattr(Connection, "change", noted)
    return seen


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return note_commits(monkeypatch, "COMMIT")


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A renewal is one statement, which commits by itself."""
    return note_commits(monkeypatch, "UPDATE sessions")


def test_write_waits_for_the_disk_unless_it_is_void_after_a_boot(
    store: SqliteStore, commits: list[int], renewals: list[int]
) -> None:
    """A commit that a power cut undoes would let a token be granted twice."""
    session = store.open_session(10.0)
    bound = store.put("claim", b"1", session=session)
    entry = store.put("key", b"1")
    assert set(commits) == {_FULL}
    steps: list[tuple[Callable[[], object], int]] = [
        (session.renew, _NORMAL),
        (lambda: store.put("key", b"2", expect=entry), _FULL),
        (lambda: store.delete("claim", expect=bound), _NORMAL),
        (lambda: store.delete("key"), _FULL),
        (lambda: store.put("claim", b"2", session=session), _FULL),
        (lambda: store.delete("claim", expect=ANY), _FULL),
        (session.renew, _NORMAL),
        (session.close, _FULL),
    ]

    for number, (write, expected) in enumerate(steps):
        commits.clear()
        renewals.clear()
        write()
        assert commits + renewals == [expected], number


def test_deletion_of_an_unbound_entry_waits_for_the_disk(
    store: SqliteStore, commits: list[int]
) -> None:
    """It is expected to be unbound, or the deletion is refused."""
    bound = store.put("key", b"1", session=store.open_session(10.0))
    store.delete("key")
    unbound = store.put("key", b"1")
    commits.clear()

    with pytest.raises(Conflict):
        store.delete("key", expect=bound)
    assert commits == []
    store.delete("key", expect=unbound)

    assert commits == [_FULL]


def test_commit_that_does_not_wait_takes_no_write_that_has_to() -> None:
    """Such a write would be answered before it is on the disk."""
    queue, jobs = WriteQueue[str](), [Ticket(name) for name in ("claim", "claim", "entry", "claim")]

    with queue.turn(urgent=False, deadline=now()):
        queue._queue.extend(jobs)
        assert queue.take_jobs(64, lambda job: job == "claim") == jobs[:2]
        assert queue.take_jobs(64, lambda job: True) == jobs[2:]


def test_writes_that_wait_for_a_deletion_of_a_claim_are_durable(
    store: SqliteStore, commits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait while that holds the write lock, and get a commit of their own."""
    bound = store.put("claim", b"1", session=store.open_session(10.0))
    commits.clear()
    queue, change = store.executor._write_queue, Connection.change
    threads = [threading.Thread(target=store.put, args=(f"key/{n}", b"")) for n in range(2)]

    def begin(self: Connection, statement: str, *values: tuple[object, ...]) -> int:
        done = change(self, statement, *values)
        if statement == "BEGIN IMMEDIATE" and not threads[0].ident:
            for thread in threads:
                thread.start()
            assert eventually(lambda: len(queue._queue) == len(threads))
        return done

    monkeypatch.setattr(Connection, "change", begin)
    store.delete("claim", expect=bound)
    for thread in threads:
        thread.join(5)

    assert commits[0] == _NORMAL
    assert set(commits[1:]) == {_FULL}
    assert [entry.key for entry in store.list("")] == ["key/0", "key/1"]


def test_hand_over_waits_for_the_disk_once(tmp_path: Path, commits: list[int]) -> None:
    """Only the claim of the next leader has a token that must not be granted twice."""
    with open_store(f"sqlite:///{tmp_path}/leadership.db") as store:
        one, two = Candidate(store, "key", "a", ttl=30), Candidate(store, "key", "b", ttl=30)
        assert one.wait_elected(5)
        two.start()
        commits.clear()
        one.resign(20)
        assert two.wait_elected(5)

        assert commits == [_NORMAL, _FULL]
