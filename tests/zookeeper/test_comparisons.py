"""Compare-and-set takes no entry for another one that was deleted and made again.

ZooKeeper counts the writes of a node from its creation on, and compares that number only. An entry
that was made again and written as often has the same number.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from kazoo.exceptions import NodeExistsError, NoNodeError, NotEmptyError

from leadership_core.errors import Conflict
from leadership_core.store import ABSENT
from leadership_zookeeper import entries
from leadership_zookeeper.nodes import Node
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.servers.zookeeper import ZooKeeper
from tests.zookeeper.conftest import Opener

_ROUNDS = 700


@pytest.fixture
def made_again(
    operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[int]]:
    """Another program deletes the node and makes it again, right after it was first read.

    It deletes what is below it, too, or it could not. Gives the revisions of what it has made.
    """
    read, revisions = entries._Target.read, list[int]()

    def read_and_lose_the_race(target: entries._Target) -> Node | None:
        found = read(target)
        if found is not None and not revisions:
            operator.delete(unique_key, recursive=True)
            operator.create(unique_key, b"theirs")
            for _ in range(found.version):
                operator.set(unique_key, b"theirs")
            revisions.append(operator.get(unique_key)[1].mzxid)
        return found

    monkeypatch.setattr(entries._Target, "read", read_and_lose_the_race)
    yield revisions
    assert revisions, "nothing was read"
    data, stat = operator.get(unique_key)
    assert (data, stat.mzxid) == (b"theirs", revisions[0])


def test_a_write_that_compares(
    store: ZooKeeperStore, unique_key: str, made_again: list[int]
) -> None:
    """It is refused: the entry is another program's."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=entry)


def test_a_write_that_compares_and_binds(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str, made_again: list[int]
) -> None:
    """Likewise, though it makes a node anew."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=entry, session=session)


def test_a_deletion_that_compares(
    store: ZooKeeperStore, unique_key: str, made_again: list[int]
) -> None:
    """Likewise."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.delete(unique_key, expect=entry)


def test_a_folder_of_which_an_entry_was_made(
    store: ZooKeeperStore, operator: Any, unique_key: str, made_again: list[int]
) -> None:
    """Whoever expects that there is none has seen a folder, which has a version, too."""
    operator.create(unique_key, None, makepath=True)

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=ABSENT)


def test_what_is_bound_is_bound_to_its_own_session(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one has bound the key right after it was read; their nodes have one version."""
    entry = store.put(unique_key, b"1", session=session)
    _lose_a_race(monkeypatch, lambda: store.put(unique_key, b"2", session=rival))

    last = store.put(unique_key, b"3", session=session)

    assert (last.session, entry.session) == (session.id, session.id)
    assert operator.get(unique_key)[1].ephemeralOwner == session.number


def test_what_is_not_bound_is_never_written_to_a_node_that_is(
    store: ZooKeeperStore,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would go with that one's session."""
    store.put(unique_key, b"1")
    _lose_a_race(monkeypatch, lambda: store.put(unique_key, b"2", session=rival))

    entry = store.put(unique_key, b"3")

    rival.close()
    assert store.get(unique_key) == entry


def _lose_a_race(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Do that right after a node was read for the first time from now on."""
    read, done = entries._Target.read, list[bool]()

    def read_and_lose_the_race(target: entries._Target) -> Node | None:
        found = read(target)
        if not done:
            done.append(True)
            meanwhile()
        return found

    monkeypatch.setattr(entries._Target, "read", read_and_lose_the_race)


def test_an_empty_folder_of_which_an_entry_was_made_is_not_cleaned_up(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was empty when it was read, and is another program's entry by now."""
    remove, revisions = entries.Entries._remove, list[int]()

    def remove_too_late(self: entries.Entries, link: Any, path: str) -> bool:
        if not revisions:
            operator.delete(unique_key)
            operator.create(unique_key, b"theirs")
            revisions.append(operator.get(unique_key)[1].mzxid)
        return remove(self, link, path)

    monkeypatch.setattr(entries.Entries, "_remove", remove_too_late)
    store.put(f"{unique_key}/below", b"1")

    assert store.delete(f"{unique_key}/below")

    assert operator.get(unique_key)[1].mzxid == revisions[0]


def test_nothing_is_left_of_comparing(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """Whatever came of it; and what was pinned can be deleted."""
    entry = store.put(unique_key, b"1")
    second = store.put(unique_key, b"2", expect=entry)
    for wrong in (
        lambda: store.put(unique_key, b"3", expect=entry),
        lambda: store.delete(unique_key, expect=entry),
    ):
        with pytest.raises(Conflict):
            wrong()
    assert operator.get_children(unique_key) == []

    assert store.delete(unique_key, expect=second)

    assert not operator.exists(unique_key)


def test_a_pin_stands_in_nobodys_way(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Another user of the library deletes or binds what is being compared; its folder goes."""
    changes: list[Callable[[str], object]] = [
        store.delete,
        lambda key: store.put(key, b"2", session=session),
        lambda key: store.delete_tree(key.rpartition("/")[0]),
    ]
    for number, change in enumerate(changes):
        key = f"{unique_key}/{number}/entry"
        store.put(key, b"1")
        operator.create(f"{key}/0123__pin__", None)
        assert [found.key for found in store.list(unique_key)] == [key]
        change(key)
        found = store.get(key)
        assert found is None or found.session == session.id
        store.delete(key)
        assert not operator.exists(f"{unique_key}/{number}")


@pytest.mark.parametrize("who", ["a user of the library", "another program"])
def test_a_loop_of_deletions_and_creations(
    who: str, shared_zookeeper: ZooKeeper, opened: Opener, operator: Any, unique_key: str
) -> None:
    """Of many writes that compare, none is over an entry that was made after the one it names."""
    store, other = opened(shared_zookeeper.url), opened(shared_zookeeper.url)
    made: list[int] = []
    over = threading.Event()

    rng = random.Random(8)

    def make_again() -> None:
        while not over.is_set():
            if who == "another program":
                _replace_by_hand(operator, unique_key, made)
            else:
                other.delete(unique_key)
                with suppress(Conflict):
                    made.append(other.put(unique_key, b"", expect=ABSENT).revision)
            over.wait(rng.uniform(0, 0.002))  # or nothing that compares ever comes to write

    thread = threading.Thread(target=make_again)
    thread.start()
    written: list[tuple[int, int]] = []
    until = time.monotonic() + 6
    try:
        while len(written) < _ROUNDS and time.monotonic() < until:
            entry = store.get(unique_key)
            if entry is None:
                continue
            with suppress(Conflict):
                after = store.put(unique_key, b"1", expect=entry)
                written.append((entry.revision, after.revision))
    finally:
        over.set()
        thread.join()

    wrong = [(old, new) for old, new in written if any(old < one < new for one in made)]
    assert written
    assert not wrong, f"{len(wrong)} of {len(written)}"


def _replace_by_hand(operator: Any, path: str, made: list[int]) -> None:
    with suppress(NoNodeError, NotEmptyError):  # pinned
        operator.delete(path)
    with suppress(NodeExistsError, NoNodeError):
        operator.create(path, b"", makepath=True)
        # Written once, as the library does.
        made.append(operator.set(path, b"").mzxid)
