"""The store that users hold: trees, existence, prefixes, and invalid arguments."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadership_core import (
    ABSENT,
    ANY,
    Candidate,
    Capability,
    Closable,
    ConfigurationError,
    Entry,
    Fence,
    Session,
    Store,
    StoreUnavailable,
    open_store,
)
from leadership_core.backend import StoreBackend
from leadership_core.backend.entries import Change, Expected
from leadership_core.stores.memory import MemoryStore
from leadership_core.testing import FaultyStore as AnyFaultyStore
from tests.support.waiting import Seen, at_most
from tests.unit.faulty import Fault, FaultyStore


class LeastStore:
    """A plugin's class with only what `StoreBackend` requires."""

    def __init__(self) -> None:
        self.inner = MemoryStore()

    def get(self, key: str) -> Entry | None:
        return self.inner.get(key)

    def list(self, prefix: str) -> list[Entry]:
        return self.inner.list(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        return self.inner.put(key, value, expect=expect, session=session, fence=fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.inner.delete(key, expect=expect)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self.inner.watch(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> Session:
        return self.inner.open_session(ttl)

    def close(self) -> None:
        self.inner.close()


def test_store_without_optional_parts_does_everything() -> None:
    """It satisfies mypy as a `StoreBackend`, and has elections, locks and trees."""
    least: StoreBackend = LeastStore()

    with Store(least, "least://") as store:
        store.put("a/b", b"1")
        with store.lock("a/lock", ttl=5) as term:
            assert term.token == 1
        assert store.capabilities == {Capability.SESSIONS}
        assert store.expires_within(5) == 5
        assert store.delete_tree("a") == 2  # the count of terms, too
        assert store.list("a") == []
        with pytest.raises(ConfigurationError, match="no fenced writes"):
            store.put("a", b"1", fence=term)


def test_exists_is_true_for_an_empty_value(store: Store) -> None:
    """A deleted entry does not exist."""
    assert not store.exists("a")
    store.put("a", b"")
    assert store.exists("a")
    store.delete("a")
    assert not store.exists("a")


def test_delete_tree_deletes_what_list_lists(store: Store) -> None:
    """It keeps the key itself, and keys that only begin with the same letters."""
    for key in ("a", "a/b", "a/b/c", "a/c", "ab", "ab/c", "b"):
        store.put(key, b"1")

    assert store.delete_tree("/a/") == 3

    assert [entry.key for entry in store.list("")] == ["a", "ab", "ab/c", "b"]
    assert store.delete_tree("a") == 0


def test_delete_tree_is_reported_to_watches(store: Store) -> None:
    """A watch of the tree and one of a key in it report it, and later a new entry."""
    tree, key = Seen(), Seen()
    store.put("a/b", b"1")
    watches = [store.watch_tree("a", tree), store.watch("a/b", key)]
    key.wait(lambda change: isinstance(change, Entry))

    store.delete_tree("a")

    tree.wait_for([])
    key.wait_for(None)
    again = store.put("a/c", b"2")
    tree.wait_for([again])
    for watch in watches:
        watch.close()


def test_delete_tree_takes_bound_entries_and_leaves_their_session(store: Store) -> None:
    """The session is still open, and can bind new entries."""
    session = store.open_session(5)
    store.put("a/b", b"1", session=session)

    assert store.delete_tree("a") == 1

    entry = store.put("a/c", b"1", session=session)
    assert session.renew() == 5
    session.close()
    assert entry.session == session.id
    assert store.list("a") == []


def test_delete_tree_ends_terms_below_the_prefix(store: Store) -> None:
    """The leader's claim is an entry like others; the candidate is elected again."""
    candidate = Candidate(store, "a/leader", "one", ttl=5)
    first = candidate.wait_elected(5)
    assert first is not None

    assert store.delete_tree("a") >= 1

    assert first.wait_lost(2)
    second = candidate.wait_elected(5)
    assert second is not None
    assert second.token > first.token


def test_empty_prefix_covers_the_prefix_of_the_url() -> None:
    """Neighbours in the same store are neither listed, watched nor deleted."""
    name = uuid.uuid4().hex
    with open_store(f"memory://{name}/mine") as mine, open_store(f"memory://{name}") as all_of_it:
        all_of_it.put("theirs", b"1")
        entry = mine.put("a/b", b"1")
        seen = Seen()
        watch = mine.watch_tree("", seen)

        assert mine.list("") == mine.list("/") == [entry]
        assert [one.key for one in all_of_it.list("")] == ["mine/a/b", "theirs"]
        assert mine.delete_tree("") == 1

        seen.wait_for([])
        assert [one.key for one in all_of_it.list("")] == ["theirs"]
        with pytest.raises(ConfigurationError, match="refusing to delete every key"):
            all_of_it.delete_tree("")
        watch.close()


def test_delete_tree_deletes_one_by_one_without_own_method() -> None:
    """A lost answer is an error, and the next call deletes the rest."""
    faulty = AnyFaultyStore(LeastStore())
    with faulty.opened() as store:
        for number in range(4):
            store.put(f"a/{number}", b"1")
        faulty.inject(Fault.REPLY_LOST, "delete", times=1)

        with pytest.raises(StoreUnavailable):
            store.delete_tree("a")

        assert store.delete_tree("a") == 3
        assert store.list("a") == []


MISTAKES: dict[str, Callable[[Any], object]] = {
    "the value must be bytes, not str": lambda store: store.put("a", "text"),
    "the value must be bytes, not NoneType": lambda store: store.put("a", None),
    "the key must be a str, not bytes": lambda store: store.get(b"a"),
    "the key must be a str, not NoneType": lambda store: store.list(None),
    "ABSENT or ANY, not bytes": lambda store: store.put("a", b"1", expect=b"0"),
    "ABSENT or ANY, not NoneType": lambda store: store.delete("a", expect=None),
    "has the key 'b', not 'a'": lambda store: store.put("a", b"1", expect=store.put("b", b"1")),
    "the session must come from open_session": lambda store: store.put("a", b"1", session=5.0),
    "the fence must be a Term": lambda store: store.put("a", b"1", fence=7),
    "must be callable": lambda store: store.watch("a", None),
    "the ttl must be a number": lambda store: store.open_session("5"),
    "the key is empty": lambda store: store.exists("/"),
    "the value must be a str, not bytes": lambda store: store.lock("a", b"me"),
    "the ttl must be": lambda store: store.lock("a", ttl=0),
    "a margin of 2 s": lambda store: store.lock("a", ttl=3, margin=2),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_wrong_argument_error_names_it(store: Store, said: str) -> None:
    """A wrong type is refused before any request, by an error that names the argument."""
    with pytest.raises(ConfigurationError, match=said):
        MISTAKES[said](store)


def test_expected_entry_is_accepted_with_a_prefix() -> None:
    """An entry read from a store with a prefix can be expected there."""
    with open_store(f"memory://{uuid.uuid4().hex}/mine/too") as store:
        first = store.put("/a/", b"1", expect=ABSENT)
        second = store.put("a", b"2", expect=first)

        assert store.delete("/a", expect=second)


def test_fence_is_below_the_prefix_of_the_url() -> None:
    """The term has its key without the prefix, and the backend gets it with the prefix."""
    faulty = FaultyStore()
    faulty.prefix = "app"
    with faulty.opened() as handle:
        term = Candidate(handle, "race", "a", ttl=3).wait_elected(3)
        assert term is not None

        handle.put("guarded", b"1", fence=term)

        assert faulty.inner.get("app/guarded") is not None


def test_expires_within_is_that_of_the_store(quick_folder: Path) -> None:
    """The store's own delays are added to the ttl."""
    with open_store(f"sqlite:///{quick_folder}/e.db") as handle:
        assert handle.expires_within(5.0) > 5.0


def test_repeated_close_returns_the_same(faulty: FaultyStore) -> None:
    """Concurrent calls return the result of the first one, too."""
    faulty.inject(Fault.UNAVAILABLE, "delete", "close_session")
    store = faulty.opened()
    candidate = Candidate(store, "a", "me", ttl=3)
    assert candidate.wait_elected(5) is not None
    said: list[bool] = []
    first = threading.Thread(target=lambda: said.append(store.close(1.0)))
    begun = time.monotonic()
    first.start()
    time.sleep(0.2)  # it is at it

    said.append(store.close(5))
    first.join(5)

    assert 0.5 < time.monotonic() - begun < at_most(3)
    assert said == [False, False]
    assert store.close() is False


def test_close_in_a_signal_handler_that_interrupts_a_close(faulty: FaultyStore) -> None:
    """It returns at once what is confirmed by then, because it cannot wait for the other close."""
    faulty.inject(Fault.UNAVAILABLE, "delete", "close_session")
    store = faulty.opened()
    assert Candidate(store, "a", "me", ttl=3).wait_elected(5) is not None
    took: list[float] = []

    def handler(*_: object) -> None:
        begun = time.monotonic()
        assert store.close() is False
        took.append(time.monotonic() - begun)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert store.close(1.0) is False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert took
    assert took[0] < at_most(0.5)


def test_close_ends_within_its_timeout(faulty: FaultyStore) -> None:
    """There are many candidates, and the store hangs in each of its calls."""
    store = faulty.opened()
    candidates = [Candidate(store, f"key/{number}", "me", ttl=9) for number in range(20)]
    for candidate in candidates:
        assert candidate.wait_elected(5) is not None
    faulty.inject(Fault.HANGS)
    begun = time.monotonic()

    assert store.close(1.0) is False

    assert time.monotonic() - begun < at_most(1.6)
    faulty.heal()
