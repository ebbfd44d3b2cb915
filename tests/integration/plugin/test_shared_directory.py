"""The example of elections by observation, on plain files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shared_directory.shared_directory import DirectoryStore, leadership_open_store
from leadership_core import ABSENT, Conflict, StoreURL, URLError
from leadership_core.testing import ElectionContract, Sandbox, StoreContract

pytestmark = pytest.mark.slow


class TestDirectory(StoreContract, ElectionContract, capabilities=(), outages=()):
    """It has no capability, and elections all the same."""

    @pytest.fixture
    def sandbox(self, tmp_path: Path) -> Iterator[Sandbox]:
        """A directory for each case."""
        with Sandbox(lambda: DirectoryStore(tmp_path), ttl=2.0) as sandbox:
            yield sandbox


def test_one_of_many_writes_of_one_entry_is_applied(tmp_path: Path) -> None:
    """Threads with stores of their own create, replace and delete the same entry at once."""
    stores = [DirectoryStore(tmp_path) for _ in range(6)]
    stores[0].put("other", b"")
    for _ in range(30):
        begin, done = threading.Barrier(len(stores)), list[str]()

        def write(number: int, begin: threading.Barrier = begin, done: list[str] = done) -> None:
            store, entry = stores[number], stores[number].get("a")
            begin.wait()
            try:
                if entry is not None and number == 0:
                    store.delete("a", expect=entry)
                else:
                    store.put("a", b"%d" % number, expect=ABSENT if entry is None else entry)
                done.append(str(number))
            except Conflict:
                pass

        threads = [threading.Thread(target=write, args=[number]) for number in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 1, done
        found = stores[-1].get("a")
        assert (found is None) == (done == ["0"] and found is None)
    for store in stores:
        store.close()


def test_late_write_finds_nothing(tmp_path: Path) -> None:
    """Its revision never comes again, not even after a deletion."""
    store = DirectoryStore(tmp_path)
    first = store.put("a", b"1")
    store.put("a", b"2", expect=first)
    store.delete("a")
    again = store.put("a", b"1")
    with pytest.raises(Conflict):
        store.put("a", b"late", expect=first)
    assert store.get("a") == again
    store.close()


def test_closed_sessions_leave_nothing(tmp_path: Path) -> None:
    """Neither files nor directories."""
    store = DirectoryStore(tmp_path)
    for _ in range(5):
        store.open_session(10.0).close()
    assert [one.name for folder in tmp_path.iterdir() for one in folder.iterdir()] == []
    store.close()


def test_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "values").write_text("a file in place of the directory")
    store = DirectoryStore(tmp_path)
    with pytest.raises(Exception, match="values"):
        store.put("a", b"")
    store.close()


@pytest.mark.parametrize("url", ["directory://host/path", "directory://", "directory:///a?b=1"])
def test_wrong_url_is_refused(url: str) -> None:
    """The message shows a right one, or the option."""
    with pytest.raises(URLError):
        leadership_open_store(StoreURL.parse(url))
