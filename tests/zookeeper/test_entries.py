"""Entries as nodes: folders, empty values, what goes with a session, and comparisons."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core.errors import ConfigurationError, Conflict, Fenced, SessionLost, StoreRefused
from leadership_core.store import ABSENT, Entry
from leadership_zookeeper import entries
from leadership_zookeeper.nodes import MAX_VALUE, Node
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.servers.zookeeper import ZooKeeper, ZooKeeperServer
from tests.zookeeper.conftest import Opener
from tests.zookeeper.tools import wait_until


def test_an_entry_is_a_node_with_the_id_of_its_last_transaction(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """Made or written; what comes back is what is read."""
    for value in (b"1", b"", bytes(range(256))):
        entry = store.put(unique_key, value)
        data, stat = operator.get(unique_key)
        assert (entry.value, entry.revision) == (data, stat.mzxid) == (value, entry.revision)
        assert store.get(unique_key) == entry


def test_folders_are_no_entries_and_empty_values_are(
    zookeeper: ZooKeeperServer, opened: Opener
) -> None:
    """Also after the server was started again, from its log and from its snapshot."""
    store = opened(zookeeper.url)
    store.put("folder/empty", b"")
    store.put("folder/deeper/entry", b"1")

    for _ in range(2):
        assert store.get("folder") is None
        assert store.get("folder/deeper") is None
        assert store.get("folder/empty") == store.list("folder")[1]
        assert [entry.key for entry in store.list("folder")] == [
            "folder/deeper/entry",
            "folder/empty",
        ]
        store.close()
        zookeeper.restart()
        store = opened(zookeeper.url)


def test_a_folder_becomes_an_entry_and_a_folder_again(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """It is absent for who compares; what is below it stays."""
    store.put(f"{unique_key}/below", b"1")

    entry = store.put(unique_key, b"2", expect=ABSENT)
    with pytest.raises(Conflict):
        store.put(unique_key, b"3", expect=ABSENT)
    assert store.delete(unique_key, expect=entry)

    assert store.get(unique_key) is None
    assert not store.delete(unique_key)
    assert [found.value for found in store.list(unique_key)] == [b"1"]


def test_deleting_takes_the_empty_folders_along(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """Those above that hold nothing any more, and no other ones."""
    store.put(f"{unique_key}/kept", b"1")
    store.put(f"{unique_key}/a/b/c", b"1")

    store.delete(f"{unique_key}/a/b/c")

    assert operator.get_children(unique_key) == ["kept"]


def test_deleting_keeps_folders_that_somebody_else_uses(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """Data without an entry of ours above it are an entry, too; the chroot stays."""
    operator.ensure_path(f"{unique_key}/theirs")
    store.put(f"{unique_key}/theirs/ours", b"1")

    store.delete(f"{unique_key}/theirs/ours")

    assert store.get(f"{unique_key}/theirs") is not None


def test_delete_tree_takes_all_and_the_folders(
    store: ZooKeeperStore, operator: Any, session: ZooKeeperSession, unique_key: str
) -> None:
    """Claims, too; what only begins alike stays. It counts the entries."""
    store.put(f"{unique_key}/ab/1", b"1")
    store.put(f"{unique_key}/ab/deep/er/2", b"")
    store.put(f"{unique_key}/abc", b"1")
    store.election(f"{unique_key}/ab/leader").enter(session, b"Frank")

    assert store.delete_tree(f"{unique_key}/ab") == 3

    assert operator.get_children(unique_key) == ["abc"]
    assert store.delete_tree(f"{unique_key}/ab") == 0


def test_delete_tree_of_more_than_fits_one_transaction(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes several then."""
    monkeypatch.setattr("leadership_zookeeper.entries._STEP", 500)
    for number in range(40):
        store.put(f"{unique_key}/{number // 10}/{number}", b"1")

    assert store.delete_tree(unique_key) == 40

    assert not operator.exists(unique_key)


def test_delete_tree_leaves_what_is_written_after_it(
    store: ZooKeeperStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deletes what was there at one moment, in one step."""
    store.put(f"{unique_key}/a", b"1")
    commit, written = entries._commit, list[Entry]()

    def commit_and_write(*args: Any) -> list[Any]:
        answers = commit(*args)
        if not written:
            written.append(Entry("", b"", 0))
            written.append(store.put(f"{unique_key}/a", b"2"))
        return answers

    monkeypatch.setattr(entries, "_commit", commit_and_write)

    assert store.delete_tree(unique_key) == 1
    assert store.get(f"{unique_key}/a") == written[1]


def test_what_is_bound_to_a_session_goes_with_it(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """It says whose it is; writing it again without a session unbinds it, and the other way."""
    bound = store.put(f"{unique_key}/a", b"1", session=session)
    assert bound.session == session.id
    assert operator.exists(f"{unique_key}/a").ephemeralOwner == session.number
    store.put(f"{unique_key}/b", b"1", session=session)
    unbound = store.put(f"{unique_key}/b", b"2")
    store.put(f"{unique_key}/c", b"1")
    again = store.put(f"{unique_key}/c", b"2", session=session)
    assert (unbound.session, again.session) == (None, session.id)
    assert store.put(f"{unique_key}/a", b"2", session=session, expect=bound).value == b"2"

    session.close()

    assert [entry.key for entry in store.list(unique_key)] == [f"{unique_key}/b"]
    with pytest.raises(SessionLost):
        store.put(f"{unique_key}/d", b"1", session=session)


def test_bound_entries_have_nothing_below_them(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """Whichever comes first, the message says what ZooKeeper lacks."""
    store.put(f"{unique_key}/a", b"1", session=session)
    with pytest.raises(ConfigurationError, match="bound to a session"):
        store.put(f"{unique_key}/a/b", b"1")
    store.put(f"{unique_key}/c/d", b"1")
    with pytest.raises(ConfigurationError, match="there are entries below"):
        store.put(f"{unique_key}/c", b"1", session=session)


def test_of_many_that_compare_one_wins(store: ZooKeeperStore, unique_key: str) -> None:
    """Each round: as many writers as conflicts, less one."""
    entry = store.put(unique_key, b"start")
    for number in range(5):
        expected: Entry = entry

        def write(who: int, expected: Entry = expected) -> Entry | None:
            try:
                return store.put(unique_key, b"%d" % who, expect=expected)
            except Conflict:
                return None

        with ThreadPoolExecutor(6) as pool:
            won = [found for found in pool.map(write, range(6)) if found is not None]
        assert len(won) == 1, number
        (entry,) = won
        assert store.get(unique_key) == entry


def test_an_entry_made_anew_is_another_one(store: ZooKeeperStore, unique_key: str) -> None:
    """Though it has the same value, and was written as often."""
    old = store.put(unique_key, b"1")
    store.delete(unique_key)
    store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=old)
    with pytest.raises(Conflict):
        store.delete(unique_key, expect=old)


def test_writers_that_do_not_compare_all_succeed(store: ZooKeeperStore, unique_key: str) -> None:
    """However they get in each other's way, also when the folders are missing."""
    barrier = threading.Barrier(6)

    def write(who: int) -> Entry:
        barrier.wait()
        store.delete(f"{unique_key}/x/{who % 2}")
        return store.put(f"{unique_key}/x/{who % 2}", b"%d" % who)

    with ThreadPoolExecutor(6) as pool:
        entries = list(pool.map(write, range(6)))

    assert len({entry.revision for entry in entries}) == 6


def test_the_largest_value_passes_and_a_larger_one_is_refused(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """Fenced, bound or neither; and no connection breaks."""
    claim = store.election(f"{unique_key}/leader").enter(session, b"Frank")
    largest = bytes(MAX_VALUE)
    fence = (f"{unique_key}/leader", claim.token or 0)

    store.put(f"{unique_key}/plain", largest, fence=fence)
    store.put(f"{unique_key}/plain", largest, fence=fence)
    store.put(f"{unique_key}/bound", largest, session=session)
    with pytest.raises(StoreRefused, match="bytes at most"):
        store.put(f"{unique_key}/plain", largest + b"1")

    found = store.get(f"{unique_key}/plain")
    assert found is not None
    assert found.value == largest
    assert session.renew() == session.ttl


def test_a_fence_holds_as_long_as_its_claim(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
) -> None:
    """Not that of one who waits, nor of one that was written over, or is gone."""
    election, key = store.election(unique_key), f"{unique_key}-entry"
    claim, waiting = election.enter(session, b"Frank"), election.enter(rival, b"Claire")
    assert claim.token is not None
    assert waiting.token is not None
    entry = store.put(key, b"1", fence=(unique_key, claim.token))
    assert store.put(key, b"2", fence=(unique_key, claim.token), expect=entry).value == b"2"
    with pytest.raises(Conflict) as caught:
        store.put(key, b"3", fence=(unique_key, claim.token), expect=ABSENT)
    assert not isinstance(caught.value, Fenced)
    refused = [waiting.token, claim.token - 1]
    for token in refused:
        with pytest.raises(Fenced):
            store.put(key, b"4", fence=(unique_key, token))

    operator.set(claim.path, b"written over")
    with pytest.raises(Fenced):
        store.put(key, b"5", fence=(unique_key, claim.token))
    election.withdraw(claim)
    with pytest.raises(Fenced):
        store.put(key, b"6", fence=(unique_key, claim.token))

    assert store.put(key, b"7", fence=(unique_key, waiting.token)).value == b"7"
    with pytest.raises(Fenced):
        store.put(key, b"8", fence=("nobody/leads/this", 7))


def test_reading_is_linearizable_across_connections(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """What one store was told is written, another one reads."""
    writer, reader = opened(shared_zookeeper.url), opened(shared_zookeeper.url)
    for number in range(20):
        entry = writer.put(unique_key, b"%d" % number)
        assert reader.get(unique_key) == entry
    wait_until(lambda: reader.list(unique_key) == [])


def test_what_is_written_while_it_is_being_deleted_is_a_conflict(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry was as expected when it was read, and is another one when the request arrives."""
    entry = store.put(unique_key, b"1")
    read_node, written = entries._Target.read, list[Any]()

    def read_and_lose_the_race(target: entries._Target) -> Node | None:
        found = read_node(target)
        if not written:
            written.append(operator.set(unique_key, b"2"))
        return found

    monkeypatch.setattr(entries._Target, "read", read_and_lose_the_race)

    with pytest.raises(Conflict):
        store.delete(unique_key, expect=entry)

    assert operator.get(unique_key)[0] == b"2"


def test_deleting_the_last_entry_leaves_the_chroot(
    shared_zookeeper: ZooKeeper, opened: Opener, operator: Any, unique_key: str
) -> None:
    """Folders that are empty go; what the URL names may have been made by somebody, with rights."""
    url = shared_zookeeper.url_at(shared_zookeeper.port, chroot=f"/{unique_key}")
    store = opened(url)
    store.put(f"{unique_key}/folder/entry", b"1")

    assert store.delete(f"{unique_key}/folder/entry")

    assert operator.exists(f"{unique_key}/folder") is None
    assert operator.exists(unique_key) is not None
