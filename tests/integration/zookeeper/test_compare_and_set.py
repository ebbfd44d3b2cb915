"""Compare-and-set of entries that were deleted and created again.

ZooKeeper counts the writes of a node since its creation, and compares only that number. An entry
that was created again and written as often has the same number.
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

from leadership_core.backend.entries import ABSENT
from leadership_core.errors import Conflict
from leadership_zookeeper.kv import Entries
from leadership_zookeeper.nodes import KeyValue
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import after_first_read
from tests.support.servers.zookeeper import ZooKeeper

_ROUNDS = 700


@pytest.fixture
def replaced(
    operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[int]]:
    """Another program deletes the node and creates it again, right after it was first read.

    It deletes the children, too, or it could not. Yields the revision of the new node.
    """
    revisions = list[int]()

    def replace(found: KeyValue) -> None:
        operator.delete(unique_key, recursive=True)
        operator.create(unique_key, b"theirs")
        for _ in range(found.version):
            operator.set(unique_key, b"theirs")
        revisions.append(operator.get(unique_key)[1].mzxid)

    after_first_read(monkeypatch, replace)
    yield revisions
    assert revisions, "nothing was read"
    data, stat = operator.get(unique_key)
    assert (data, stat.mzxid) == (b"theirs", revisions[0])


def test_put_expecting_replaced_entry_raises_conflict(
    store: ZooKeeperStore, unique_key: str, replaced: list[int]
) -> None:
    """The entry was replaced by another program's."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=entry)


def test_put_with_session_expecting_replaced_entry_raises_conflict(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str, replaced: list[int]
) -> None:
    """The write would create a new node."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=entry, session=session)


def test_delete_expecting_replaced_entry_raises_conflict(
    store: ZooKeeperStore, unique_key: str, replaced: list[int]
) -> None:
    """The entry was replaced by another program's."""
    entry = store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.delete(unique_key, expect=entry)


def test_put_expecting_absence_raises_conflict_where_folder_became_entry(
    store: ZooKeeperStore, operator: Any, unique_key: str, replaced: list[int]
) -> None:
    """The folder that was read had the same version as the new entry."""
    operator.create(unique_key, None, makepath=True)

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=ABSENT)


def test_bound_put_binds_to_own_session_after_concurrent_bound_put(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another session has bound the key right after it was read; both nodes have one version."""
    entry = store.put(unique_key, b"1", session=session)
    after_first_read(monkeypatch, lambda _: store.put(unique_key, b"2", session=rival))

    last = store.put(unique_key, b"3", session=session)

    assert (last.session, entry.session) == (session.id, session.id)
    assert operator.get(unique_key)[1].ephemeralOwner == session.number


def test_unbound_put_replaces_concurrently_bound_node(
    store: ZooKeeperStore,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written to that node, the value would be deleted at the end of the other session."""
    store.put(unique_key, b"1")
    after_first_read(monkeypatch, lambda _: store.put(unique_key, b"2", session=rival))

    entry = store.put(unique_key, b"3")

    rival.close()
    assert store.get(unique_key) == entry


def test_delete_keeps_folder_that_became_entry(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was empty when it was read, and is another program's entry by now."""
    delete_folder, revisions = Entries._delete_folder, list[int]()

    def delete_too_late(self: Entries, client: Any, path: str) -> bool:
        if not revisions:
            operator.delete(unique_key)
            operator.create(unique_key, b"theirs")
            revisions.append(operator.get(unique_key)[1].mzxid)
        return delete_folder(self, client, path)

    monkeypatch.setattr(Entries, "_delete_folder", delete_too_late)
    store.put(f"{unique_key}/below", b"1")

    assert store.delete(f"{unique_key}/below")

    assert operator.get(unique_key)[1].mzxid == revisions[0]


def test_compare_and_set_leaves_no_pins(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """There are none after a success or a conflict, so the entry can be deleted."""
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


def test_foreign_pin_blocks_no_other_write(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Another client deletes or binds the entry that is pinned, or deletes its folder."""
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
def test_compare_and_set_never_overwrites_recreated_entry(
    who: str, shared_zookeeper: ZooKeeper, opened: Opener, operator: Any, unique_key: str
) -> None:
    """Many compare-and-set writes run against a loop of deletions and creations."""
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
