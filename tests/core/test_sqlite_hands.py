"""When somebody changes the tables by hand, with `sqlite3`: it is noticed like any change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership_core.errors import SessionLost
from leadership_core.sqlite import SqliteStore
from leadership_core.store import Entry
from tests.core.stores_harness import FakeClock, Seen, sqlite_store


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


def test_a_row_that_is_deleted_is_told(store: SqliteStore, path: Path) -> None:
    """To who watches the key and to who watches the tree, though nothing was counted."""
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


def test_a_row_that_is_bound_to_nobody_any_more_is_told(store: SqliteStore, path: Path) -> None:
    """As who overwrites the claim of a leader does."""
    store.put("key", b"1", session=store.open_session(10.0))
    seen = Seen()
    store.watch("key", seen)
    seen.wait(lambda it: isinstance(it, Entry) and it.session is not None)

    by_hand(path, "UPDATE entries SET value = 'mine', session = NULL")

    seen.wait(lambda it: isinstance(it, Entry) and it.session is None)


@pytest.mark.parametrize("watched", [True, False])
def test_a_session_that_is_deleted_takes_along_what_is_bound_to_it(
    watched: bool, store: SqliteStore, path: Path
) -> None:
    """As if it had expired; otherwise nobody would have the key ever again."""
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
