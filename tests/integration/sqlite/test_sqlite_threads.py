"""Changes of the tables by hand, with `sqlite3`: they are noticed like any change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership_core.backend.entries import Entry
from leadership_core.errors import SessionLost
from leadership_core.stores.sqlite import SqliteStore
from tests.support.waiting import Seen
from tests.unit.stores_harness import FakeClock, sqlite_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(sqlite_store(path, FakeClock())) as store:
        yield store


def by_hand(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as database:
        database.execute(statement)


def test_watch_reports_a_row_deleted_by_hand(store: SqliteStore, path: Path) -> None:
    """Watches of the key and of the tree do, although no revision has changed."""
    store.put("a/key", b"1", session=store.open_session(10.0))
    store.put("a/other", b"2")
    seen, tree = Seen(), Seen()
    store.watch("a/key", seen)
    store.watch("a", tree, tree=True)
    seen.wait(lambda it: isinstance(it, Entry))
    tree.wait(lambda it: isinstance(it, list) and len(it) == 2)

    by_hand(path, "DELETE FROM entries WHERE key = 'a/key'")

    seen.wait(lambda it: it is None)
    tree.wait(lambda it: isinstance(it, list) and len(it) == 1)


def test_watch_reports_a_row_unbound_by_hand(store: SqliteStore, path: Path) -> None:
    """Overwriting a leader's claim does the same."""
    store.put("key", b"1", session=store.open_session(10.0))
    seen = Seen()
    store.watch("key", seen)
    seen.wait(lambda it: isinstance(it, Entry) and it.session is not None)

    by_hand(path, "UPDATE entries SET value = 'mine', session = NULL")

    seen.wait(lambda it: isinstance(it, Entry) and it.session is None)


@pytest.mark.parametrize("watched", [True, False])
def test_session_deleted_by_hand_takes_its_entries(
    watched: bool, store: SqliteStore, path: Path
) -> None:
    """They end as if it had expired; otherwise the key could never be acquired again."""
    session, seen = store.open_session(10.0), Seen()
    store.put("key", b"1", session=session)
    if watched:
        store.watch("key", seen)
        seen.wait(lambda it: isinstance(it, Entry))

    by_hand(path, "DELETE FROM sessions")

    if watched:
        seen.wait(lambda it: it is None)
    assert store.get("key") is None
    with pytest.raises(SessionLost):
        session.renew()
