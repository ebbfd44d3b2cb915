"""Entries as nodes: folders, empty values, bound entries, deletions and fences."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core import Fence
from leadership_core.backend.entries import ABSENT, Entry
from leadership_core.errors import ConfigurationError, Conflict, Fenced, SessionLost, StoreRefused
from leadership_zookeeper import kv
from leadership_zookeeper.nodes import MAX_VALUE
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import after_first_read
from tests.support.servers.zookeeper import ZooKeeper, ZooKeeperServer
from tests.support.waiting import wait_until


def test_revision_is_mzxid_of_node(store: ZooKeeperStore, operator: Any, unique_key: str) -> None:
    """After creation and after each write; a write returns what a read returns."""
    for value in (b"1", b"", bytes(range(256))):
        entry = store.put(unique_key, value)
        data, stat = operator.get(unique_key)
        assert (entry.value, entry.revision) == (data, stat.mzxid) == (value, entry.revision)
        assert store.get(unique_key) == entry


def test_folder_is_no_entry_and_empty_value_is(zookeeper: ZooKeeperServer, opened: Opener) -> None:
    """This is also true after a restart of the server, from its log and from its snapshot."""
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


def test_folder_becomes_entry_and_folder_again(store: ZooKeeperStore, unique_key: str) -> None:
    """A folder counts as absent; the entries below it stay."""
    store.put(f"{unique_key}/below", b"1")

    entry = store.put(unique_key, b"2", expect=ABSENT)
    with pytest.raises(Conflict):
        store.put(unique_key, b"3", expect=ABSENT)
    assert store.delete(unique_key, expect=entry)

    assert store.get(unique_key) is None
    assert not store.delete(unique_key)
    assert [found.value for found in store.list(unique_key)] == [b"1"]


def test_delete_removes_empty_folders(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """These are the folders above the entry without other children."""
    store.put(f"{unique_key}/kept", b"1")
    store.put(f"{unique_key}/a/b/c", b"1")

    store.delete(f"{unique_key}/a/b/c")

    assert operator.get_children(unique_key) == ["kept"]


def test_delete_keeps_nodes_with_data(
    store: ZooKeeperStore, operator: Any, unique_key: str
) -> None:
    """A node with data of another program is an entry, too."""
    operator.ensure_path(f"{unique_key}/theirs")
    store.put(f"{unique_key}/theirs/ours", b"1")

    store.delete(f"{unique_key}/theirs/ours")

    assert store.get(f"{unique_key}/theirs") is not None


def test_delete_tree_removes_entries_claims_and_folders(
    store: ZooKeeperStore, operator: Any, session: ZooKeeperSession, unique_key: str
) -> None:
    """Keys that only begin with the same characters stay; the entries are counted."""
    store.put(f"{unique_key}/ab/1", b"1")
    store.put(f"{unique_key}/ab/deep/er/2", b"")
    store.put(f"{unique_key}/abc", b"1")
    store.election(f"{unique_key}/ab/leader").enter(session, b"Frank")

    assert store.delete_tree(f"{unique_key}/ab") == 3

    assert operator.get_children(unique_key) == ["abc"]
    assert store.delete_tree(f"{unique_key}/ab") == 0


def test_delete_tree_uses_several_transactions_for_large_tree(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a transaction is lowered for the test."""
    monkeypatch.setattr("leadership_zookeeper.kv._MAX_TRANSACTION", 500)
    for number in range(40):
        store.put(f"{unique_key}/{number // 10}/{number}", b"1")

    assert store.delete_tree(unique_key) == 40

    assert not operator.exists(unique_key)


def test_delete_tree_keeps_later_entries(
    store: ZooKeeperStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deletes the entries of one moment, in one transaction."""
    store.put(f"{unique_key}/a", b"1")
    commit, written = kv._commit, list[Entry]()

    def commit_and_write(*args: Any) -> list[Any]:
        answers = commit(*args)
        if not written:
            written.append(Entry("", b"", 0))
            written.append(store.put(f"{unique_key}/a", b"2"))
        return answers

    monkeypatch.setattr(kv, "_commit", commit_and_write)

    assert store.delete_tree(unique_key) == 1
    assert store.get(f"{unique_key}/a") == written[1]


def test_bound_entry_is_deleted_with_its_session(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Writing it without a session unbinds it, and the other way round."""
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


def test_entry_below_bound_entry_is_configuration_error(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """In either order of the two writes, the message names ZooKeeper's restriction."""
    store.put(f"{unique_key}/a", b"1", session=session)
    with pytest.raises(ConfigurationError, match="bound to a session"):
        store.put(f"{unique_key}/a/b", b"1")
    store.put(f"{unique_key}/c/d", b"1")
    with pytest.raises(ConfigurationError, match="there are entries below"):
        store.put(f"{unique_key}/c", b"1", session=session)


def test_recreated_entry_conflicts_with_old_one(store: ZooKeeperStore, unique_key: str) -> None:
    """It has the same value and as many writes."""
    old = store.put(unique_key, b"1")
    store.delete(unique_key)
    store.put(unique_key, b"1")

    with pytest.raises(Conflict):
        store.put(unique_key, b"2", expect=old)
    with pytest.raises(Conflict):
        store.delete(unique_key, expect=old)


def test_concurrent_puts_without_comparison_all_succeed(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """Concurrent deletions may remove the folders meanwhile."""
    barrier = threading.Barrier(6)

    def write(who: int) -> Entry:
        barrier.wait()
        store.delete(f"{unique_key}/x/{who % 2}")
        return store.put(f"{unique_key}/x/{who % 2}", b"%d" % who)

    with ThreadPoolExecutor(6) as pool:
        entries = list(pool.map(write, range(6)))

    assert len({entry.revision for entry in entries}) == 6


def test_put_accepts_largest_value_and_refuses_larger(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """The entry is fenced, bound or neither, and no connection breaks."""
    claim = store.election(f"{unique_key}/leader").enter(session, b"Frank")
    largest = bytes(MAX_VALUE)
    fence = Fence(f"{unique_key}/leader", claim.token or 0)

    store.put(f"{unique_key}/plain", largest, fence=fence)
    store.put(f"{unique_key}/plain", largest, fence=fence)
    store.put(f"{unique_key}/bound", largest, session=session)
    with pytest.raises(StoreRefused, match="bytes at most"):
        store.put(f"{unique_key}/plain", largest + b"1")

    found = store.get(f"{unique_key}/plain")
    assert found is not None
    assert found.value == largest
    assert session.renew() == session.ttl


def test_fence_is_valid_only_for_leading_claim(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
) -> None:
    """It is refused for a waiting, an overwritten and a withdrawn claim."""
    election, key = store.election(unique_key), f"{unique_key}-entry"
    claim, waiting = election.enter(session, b"Frank"), election.enter(rival, b"Claire")
    assert claim.token is not None
    assert waiting.token is not None
    entry = store.put(key, b"1", fence=Fence(unique_key, claim.token))
    assert store.put(key, b"2", fence=Fence(unique_key, claim.token), expect=entry).value == b"2"
    with pytest.raises(Conflict) as caught:
        store.put(key, b"3", fence=Fence(unique_key, claim.token), expect=ABSENT)
    assert not isinstance(caught.value, Fenced)
    refused = [waiting.token, claim.token - 1]
    for token in refused:
        with pytest.raises(Fenced):
            store.put(key, b"4", fence=Fence(unique_key, token))

    operator.set(claim.path, b"written over")
    with pytest.raises(Fenced):
        store.put(key, b"5", fence=Fence(unique_key, claim.token))
    election.withdraw(claim)
    with pytest.raises(Fenced):
        store.put(key, b"6", fence=Fence(unique_key, claim.token))

    assert store.put(key, b"7", fence=Fence(unique_key, waiting.token)).value == b"7"
    with pytest.raises(Fenced):
        store.put(key, b"8", fence=Fence("no/leader/here", 7))


def test_reads_are_linearizable_across_connections(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """A store reads what another one has just written."""
    writer, reader = opened(shared_zookeeper.url), opened(shared_zookeeper.url)
    for number in range(20):
        entry = writer.put(unique_key, b"%d" % number)
        assert reader.get(unique_key) == entry
    wait_until(lambda: reader.list(unique_key) == [])


def test_delete_conflicts_with_concurrent_write(
    store: ZooKeeperStore, operator: Any, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry was as expected when it was read, and has changed when the request arrives."""
    entry = store.put(unique_key, b"1")
    after_first_read(monkeypatch, lambda _: operator.set(unique_key, b"2"))

    with pytest.raises(Conflict):
        store.delete(unique_key, expect=entry)

    assert operator.get(unique_key)[0] == b"2"


def test_delete_of_last_entry_keeps_chroot(
    shared_zookeeper: ZooKeeper, opened: Opener, operator: Any, unique_key: str
) -> None:
    """The node of the chroot may have been created by an operator, with permissions."""
    url = shared_zookeeper.url_at(shared_zookeeper.port, chroot=f"/{unique_key}")
    store = opened(url)
    store.put(f"{unique_key}/folder/entry", b"1")

    assert store.delete(f"{unique_key}/folder/entry")

    assert operator.exists(f"{unique_key}/folder") is None
    assert operator.exists(unique_key) is not None
