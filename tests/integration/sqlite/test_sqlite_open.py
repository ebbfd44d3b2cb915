"""Errors of sqlite:// when it is opened."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leadership_core.backend import clock
from leadership_core.backend.url import StoreURL
from leadership_core.errors import ConfigurationError, StoreRefused, URLError
from leadership_core.stores.sqlite import leadership_open_store
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.schema import _TABLES, prepare
from tests.integration.sqlite.conftest import open_sqlite

ROOT = Path(__file__).parents[3]


def test_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    """The file is created at its first use, not when the store is opened."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
    assert list(tmp_path.iterdir()) == []

    assert store.get("a") is None
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_relative_path_is_resolved_when_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its folder later keeps its database."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_sqlite("sqlite:///a.db")
    monkeypatch.chdir(tmp_path / "elsewhere")

    store.put("a", b"")
    store.close()
    assert (tmp_path / "a.db").exists()


def test_path_may_contain_a_percent_sign_and_a_question_mark(tmp_path: Path) -> None:
    """The path is percent-decoded, and has no further meaning for SQLite."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a%3Fmode=ro%20%25.db")
    store.put("a", b"")
    store.close()

    assert (tmp_path / "a?mode=ro %.db").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite://host/a.db", "no host"),
        ("sqlite://user@/a.db", "no host"),
        ("sqlite://:secret@/a.db", "no host"),
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite+tls:///a.db", "no TLS"),
        ("sqlite:///a.db?timeout=3", "no option 'timeout'"),
    ],
)
def test_url_with_more_than_a_path_is_refused(url: str, why: str) -> None:
    """A part that would be ignored is an error."""
    with pytest.raises(URLError, match=why):
        open_sqlite(url)


def test_plugin_ignores_other_schemes() -> None:
    """The plugin opens its own scheme only."""
    assert leadership_open_store(StoreURL.parse("consul://name")) is None


def test_folder_is_refused_as_a_database(tmp_path: Path) -> None:
    """The message says what to write instead."""
    with pytest.raises(ConfigurationError, match=r"is a folder.*leadership\.db"):
        open_sqlite(f"sqlite:///{tmp_path}")


def test_missing_folder_is_not_created(tmp_path: Path) -> None:
    """It may be a file system that is not mounted yet."""
    with pytest.raises(ConfigurationError, match="create it first"):
        open_sqlite(f"sqlite:///{tmp_path}/not/there.db")


_AS_NOBODY = """
import os, sys
from leadership_core.errors import ConfigurationError
from leadership_core.stores.sqlite import leadership_open_store
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.location import Location
from leadership_core.stores.sqlite.schema import _TABLES, prepare
from leadership_core.backend.url import StoreURL
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    leadership_open_store(StoreURL.parse(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "why"),
    [
        (0o555, 0o666, "must be readable and writable"),
        (0o333, 0o666, "must be readable and writable"),
        (0o777, 0o444, "may read and write"),
        (0o777, 0o222, "may read and write"),
    ],
)
def test_unwritable_database_is_refused(folder_mode: int, file_mode: int, why: str) -> None:
    """SQLite needs to write to the folder, too; the test runs without root's permissions."""
    folder = Path(tempfile.mkdtemp(prefix="leadership-"))  # pytest's own is closed to others
    file = folder / "a.db"
    try:
        file.touch()
        file.chmod(file_mode)
        folder.chmod(folder_mode)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, f"sqlite:///{file}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)

    assert why in done.stdout


def test_file_that_is_no_database_is_left_unchanged(tmp_path: Path) -> None:
    """A text file is refused when the store is opened."""
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n" * 200)

    with pytest.raises(ConfigurationError, match=r"notes\.txt cannot be used as a database"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_text() == "buy milk\n" * 200


def test_database_of_another_program_is_left_unchanged(tmp_path: Path) -> None:
    """Its content, its journal mode and its folder are the same afterwards."""
    file = tmp_path / "app.db"
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE customers (name TEXT)")
    db.commit()
    db.close()
    before = file.read_bytes()

    with pytest.raises(ConfigurationError, match="another program's database"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_database_of_another_version_is_left_unchanged(tmp_path: Path) -> None:
    """Two formats cannot share an election."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    store.put("a", b"")
    store.close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(ConfigurationError, match="format 99"):
        open_sqlite(f"sqlite:///{file}")


def test_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """A file of `touch a.db`, or a temporary file, counts as none."""
    file = tmp_path / "a.db"
    file.touch()
    store = open_sqlite(f"sqlite:///{file}")

    entry = store.put("a", b"")
    assert store.get("a") == entry
    store.close()


def test_database_created_by_another_process_meanwhile_is_used(tmp_path: Path) -> None:
    """A process that finds it empty, and waits for the lock, checks again before creating tables."""
    file = tmp_path / "a.db"
    first, second = Connection(file), Connection(file)
    first.rows("PRAGMA journal_mode = WAL")
    first.change("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, second, str(file), clock.now() + 3)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        for statement in _TABLES:
            first.change(statement)
        first.change("COMMIT")
        waiting.result(3)

    assert second.value("SELECT revision FROM counter") == 0
    first.close()
    second.close()


def test_database_replaced_by_another_programs_is_refused(tmp_path: Path) -> None:
    """The error that the constructor would raise is a StoreRefused from then on."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    file.write_text("buy milk\n" * 200)

    with pytest.raises(StoreRefused):
        store.get("a")
    file.unlink()
    assert store.get("a") is None
    store.close()
