"""Polling watches: each state is reported once, also after outages, until the watch is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from leadership_core.backend.deadline import remaining_timeout
from leadership_core.backend.entries import Change, Entry
from leadership_core.backend.watches import PollingWatcher
from leadership_core.errors import StoreClosed, StoreUnavailable
from tests.support.waiting import Seen


class Shelf:
    """A store to poll, with errors to inject."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.error: Exception | None = None
        self.reads = 0
        self.was_read = threading.Condition()
        self.budgets: list[float] = []

    def read(self, watched: Sequence[tuple[str, bool]]) -> list[Change]:
        with self.was_read:
            self.reads += 1
            self.budgets.append(remaining_timeout())
            self.was_read.notify_all()
            if self.error is not None:
                raise self.error
            return [self.below(key) if tree else self.entries.get(key) for key, tree in watched]

    def below(self, key: str) -> list[Entry]:
        return [one for name, one in sorted(self.entries.items()) if name.startswith(f"{key}/")]

    def put(self, key: str, revision: int) -> Entry:
        entry = self.entries[key] = Entry(key, b"", revision)
        return entry

    def await_reads(self, more: int) -> None:
        """Wait until it has been polled so many times more."""
        with self.was_read:
            enough = self.reads + more
            assert self.was_read.wait_for(lambda: self.reads >= enough, 3)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def watches(shelf: Shelf) -> Iterator[PollingWatcher]:
    watches = PollingWatcher(shelf.read, pause=0.01)
    yield watches
    watches.close()


def test_polling_reports_each_state_once(shelf: Shelf, watches: PollingWatcher) -> None:
    """The present state first, and then changes; a tree is reported as a list."""
    key, tree = Seen(), Seen()
    watches.add("a", key, tree=False)
    watches.add("a", tree, tree=True)
    key.wait_for(None)
    tree.wait_for([])

    first = shelf.put("a", 1)
    key.wait_for(first)
    below = shelf.put("a/b", 2)
    tree.wait_for([below])
    shelf.await_reads(3)

    assert key == [None, first]
    assert tree == [[], [below]]


def test_polling_reports_an_outage_once_until_the_next_state(
    shelf: Shelf, watches: PollingWatcher
) -> None:
    """The next state is reported after an outage, changed or not."""
    seen = Seen()
    entry = shelf.put("a", 1)
    watches.add("a", seen, tree=False)
    seen.wait_for(entry)

    shelf.error = StoreUnavailable("cut off")
    seen.wait(lambda change: isinstance(change, StoreUnavailable))
    shelf.await_reads(2)
    shelf.error = None
    seen.wait_for(entry)

    assert len(seen) == 3


def test_polling_survives_an_error_of_the_store(
    shelf: Shelf, watches: PollingWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of another type is logged, and counts as an outage."""
    seen = Seen()
    shelf.error = KeyError("a mistake")
    watches.add("a", seen, tree=False)
    trouble = seen.wait(lambda change: isinstance(change, StoreUnavailable))
    assert isinstance(trouble, StoreUnavailable)
    assert isinstance(trouble.__cause__, KeyError)

    shelf.error = None
    seen.wait_for(None)
    assert "polling for changes failed" in caplog.text


def test_closed_watch_gets_no_report(shelf: Shelf, watches: PollingWatcher) -> None:
    """Its callback is not called, and its key is not read, any more."""
    closed, other = Seen(), Seen()
    subscription = watches.add("a", closed, tree=False)
    watches.add("b", other, tree=False)
    closed.wait_for(None)
    other.wait_for(None)

    subscription.close()
    shelf.put("a", 1)
    entry = shelf.put("b", 2)
    other.wait_for(entry)
    assert closed == [None]


@pytest.mark.parametrize("waits", [True, False], ids=["own wait", "wake"])
def test_close_ends_the_thread_and_refuses_more(shelf: Shelf, waits: bool) -> None:
    """It ends any wait; a second close does nothing, and each read had a time limit."""
    pause, bell = 0.2 if waits else 60.0, threading.Event()
    wait: Callable[[float], object] | None = bell.wait if waits else None
    watches = PollingWatcher(shelf.read, pause=pause, wait=wait, name="leadership-shelf")
    watches.close()  # before there is a thread
    with pytest.raises(StoreClosed):
        watches.add("a", Seen(), tree=False)

    watches = PollingWatcher(shelf.read, pause=pause, wait=wait, name="leadership-shelf")
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)
    watches.close()
    watches.close()

    assert "leadership-shelf" not in {thread.name for thread in threading.enumerate()}
    assert max(shelf.budgets) <= 2.0


def test_wake_polls_at_once(shelf: Shelf) -> None:
    """A store may know of a change before the next poll, such as a write of its own."""
    watches = PollingWatcher(shelf.read, pause=60.0)
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)

    entry = shelf.put("a", 1)
    watches.wake()
    seen.wait_for(entry)
    watches.close()


def test_polling_ends_when_the_store_is_closed(shelf: Shelf, watches: PollingWatcher) -> None:
    """`StoreClosed` ends the thread, and is not logged."""
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)
    shelf.error = StoreClosed("closed")
    shelf.await_reads(1)
    watches.close()
    assert seen == [None]


def test_callback_may_close_the_watcher(shelf: Shelf, watches: PollingWatcher) -> None:
    """The thread does not wait for itself."""
    done = threading.Event()

    def end(_: Change) -> None:
        watches.close()
        done.set()

    watches.add("a", end, tree=False)
    assert done.wait(3)
