"""Watches of a store that has to look: told once for each state, through troubles, until closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from leadership_core.budget import remaining_budget
from leadership_core.errors import StoreClosed, StoreUnavailable
from leadership_core.polling import PolledWatches
from leadership_core.store import Change, Entry
from tests.core.stores_harness import Seen


class Shelf:
    """What is looked at, and what goes wrong on the way there."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.error: Exception | None = None
        self.looks = 0
        self.looked = threading.Condition()
        self.budgets: list[float] = []

    def look(self, watched: Sequence[tuple[str, bool]]) -> list[Change]:
        with self.looked:
            self.looks += 1
            self.budgets.append(remaining_budget())
            self.looked.notify_all()
            if self.error is not None:
                raise self.error
            return [self.below(key) if tree else self.entries.get(key) for key, tree in watched]

    def below(self, key: str) -> list[Entry]:
        return [one for name, one in sorted(self.entries.items()) if name.startswith(f"{key}/")]

    def put(self, key: str, revision: int) -> Entry:
        entry = self.entries[key] = Entry(key, b"", revision)
        return entry

    def await_looks(self, more: int) -> None:
        """Wait until it has been looked at so many times from now on."""
        with self.looked:
            enough = self.looks + more
            assert self.looked.wait_for(lambda: self.looks >= enough, 3)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def watches(shelf: Shelf) -> Iterator[PolledWatches]:
    watches = PolledWatches(shelf.look, pause=0.01)
    yield watches
    watches.close()


def test_each_state_is_told_once(shelf: Shelf, watches: PolledWatches) -> None:
    """The state of now, and then what differs; a key by itself, and a tree as a list."""
    key, tree = Seen(), Seen()
    watches.add("a", key, tree=False)
    watches.add("a", tree, tree=True)
    key.wait_for(None)
    tree.wait_for([])

    first = shelf.put("a", 1)
    key.wait_for(first)
    below = shelf.put("a/b", 2)
    tree.wait_for([below])
    shelf.await_looks(3)

    assert key.changes == [None, first]
    assert tree.changes == [[], [below]]


def test_trouble_is_told_once_and_ends_with_the_next_state(
    shelf: Shelf, watches: PolledWatches
) -> None:
    """While the store is away each watch hears it once, and then the state, changed or not."""
    seen = Seen()
    entry = shelf.put("a", 1)
    watches.add("a", seen, tree=False)
    seen.wait_for(entry)

    shelf.error = StoreUnavailable("cut off")
    seen.wait(lambda change: isinstance(change, StoreUnavailable))
    shelf.await_looks(2)
    shelf.error = None
    seen.wait_for(entry)

    assert len(seen.changes) == 3


def test_a_mistake_of_the_store_does_not_end_its_watches(
    shelf: Shelf, watches: PolledWatches, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that is none of ours is logged, counts as an outage, and passes."""
    seen = Seen()
    shelf.error = KeyError("a mistake")
    watches.add("a", seen, tree=False)
    trouble = seen.wait(lambda change: isinstance(change, StoreUnavailable))
    assert isinstance(trouble, StoreUnavailable)
    assert isinstance(trouble.__cause__, KeyError)

    shelf.error = None
    seen.wait_for(None)
    assert "looking for changes failed" in caplog.text


def test_a_closed_watch_is_told_nothing_more(shelf: Shelf, watches: PolledWatches) -> None:
    """Neither is its callback called again, nor is its key looked at."""
    closed, other = Seen(), Seen()
    subscription = watches.add("a", closed, tree=False)
    watches.add("b", other, tree=False)
    closed.wait_for(None)
    other.wait_for(None)

    subscription.close()
    shelf.put("a", 1)
    entry = shelf.put("b", 2)
    other.wait_for(entry)
    assert closed.changes == [None]


@pytest.mark.parametrize("waits", [True, False], ids=["own wait", "wake"])
def test_close_ends_the_thread_and_refuses_more(shelf: Shelf, waits: bool) -> None:
    """However the thread waits; closing again does nothing, and each look had a limit."""
    pause, bell = 0.2 if waits else 60.0, threading.Event()
    wait: Callable[[float], object] | None = bell.wait if waits else None
    watches = PolledWatches(shelf.look, pause=pause, wait=wait, name="leadership-shelf")
    watches.close()  # before there is a thread
    with pytest.raises(StoreClosed):
        watches.add("a", Seen(), tree=False)

    watches = PolledWatches(shelf.look, pause=pause, wait=wait, name="leadership-shelf")
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)
    watches.close()
    watches.close()

    assert "leadership-shelf" not in {thread.name for thread in threading.enumerate()}
    assert max(shelf.budgets) <= 2.0


def test_wake_makes_it_look_at_once(shelf: Shelf) -> None:
    """A store that knows of a change, such as one that it made itself, need not wait."""
    watches = PolledWatches(shelf.look, pause=60.0)
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)

    entry = shelf.put("a", 1)
    watches.wake()
    seen.wait_for(entry)
    watches.close()


def test_a_store_that_closes_ends_it(shelf: Shelf, watches: PolledWatches) -> None:
    """Looking at a closed store ends the thread, without a word."""
    seen = Seen()
    watches.add("a", seen, tree=False)
    seen.wait_for(None)
    shelf.error = StoreClosed("closed")
    shelf.await_looks(1)
    watches.close()
    assert seen.changes == [None]


def test_its_callback_may_close_it(shelf: Shelf, watches: PolledWatches) -> None:
    """All of it, from inside: the thread does not wait for itself."""
    done = threading.Event()

    def end(_: Change) -> None:
        watches.close()
        done.set()

    watches.add("a", end, tree=False)
    assert done.wait(3)
