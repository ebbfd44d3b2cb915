"""Watches: what they tell, and what they survive."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core.budget import budget
from leadership_core.errors import StoreError, StoreUnavailable
from leadership_core.store import Leader
from leadership_zookeeper.store import ZooKeeperStore
from tests.conftest import ProxyFactory
from tests.servers.zookeeper import ZooKeeper
from tests.support.machine import at_most
from tests.zookeeper.conftest import Opener
from tests.zookeeper.tools import Seen, has_value, our_threads, wait_until


def _reader_session(store: ZooKeeperStore) -> int:
    found = store._reader.link().credentials
    assert found
    return found[0]


def test_a_key_is_told_through_all_its_life(store: ZooKeeperStore, unique_key: str) -> None:
    """Before it is there, and after it is gone; a folder is nothing."""
    seen = Seen()
    watch = store.watch(unique_key, seen)
    seen.wait(lambda found: found is None)
    entry = store.put(unique_key, b"1")
    seen.wait(lambda found: found == entry)
    store.put(f"{unique_key}/below", b"1")
    store.put(unique_key, b"2")
    seen.wait(has_value(b"2"))
    store.delete(unique_key)
    seen.wait(lambda found: found is None)
    store.put(unique_key, b"3")
    seen.wait(has_value(b"3"))
    watch.close()


def test_a_tree_is_told_as_a_whole(store: ZooKeeperStore, unique_key: str) -> None:
    """New folders and all; what only begins alike, and the key itself, do not belong to it."""
    seen = Seen()
    watch = store.watch(f"{unique_key}/ab", seen, tree=True)
    seen.wait(lambda found: found == [])

    def keys() -> list[str]:
        return [] if not seen else [entry.key.removeprefix(unique_key) for entry in seen[-1]]

    store.put(f"{unique_key}/ab/x/y/z", b"1")
    wait_until(lambda: keys() == ["/ab/x/y/z"])
    store.put(f"{unique_key}/ab/x", b"2")
    store.put(f"{unique_key}/abc", b"3")
    store.put(f"{unique_key}/ab", b"4")
    wait_until(lambda: keys() == ["/ab/x", "/ab/x/y/z"])
    store.put(f"{unique_key}/ab/x/y/z", b"5")
    seen.wait(lambda found: found[-1].value == b"5")
    store.delete_tree(f"{unique_key}/ab")
    wait_until(lambda: keys() == [])
    store.put(f"{unique_key}/ab/again", b"6")
    wait_until(lambda: keys() == ["/ab/again"])
    watch.close()


def test_a_change_in_a_large_tree_is_not_read_as_a_whole(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """What has changed is read again, and nothing else."""
    for number in range(60):
        store.put(f"{unique_key}/{number % 6}/{number}", b"0")
    seen = Seen()
    watch = store.watch(unique_key, seen, tree=True)
    seen.wait(lambda found: len(found) == 60)
    connection = store._reader.link()._client._connection
    before = connection._xid

    store.put(f"{unique_key}/3/3", b"1")
    seen.wait(lambda found: any(entry.value == b"1" for entry in found))

    assert connection._xid - before < 10  # the write is among them
    watch.close()


def test_everything_is_watched_again_in_a_new_session(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, unique_key: str
) -> None:
    """The one that had the watches is ended by force."""
    key, tree, leader = Seen(), Seen(), Seen()
    watches = [
        store.watch(unique_key, key),
        store.watch(unique_key, tree, tree=True),
        store.election(f"{unique_key}/leader").watch_leader(leader),
    ]
    for seen in (key, tree, leader):
        seen.wait(lambda found: not found)
    session = _reader_session(store)

    shared_zookeeper.expire(session)
    wait_until(lambda: store._reader.link().connected and _reader_session(store) != session)

    store.put(unique_key, b"1")
    key.wait(has_value(b"1"))
    claim = store.election(f"{unique_key}/leader").enter(store.open_session(4), b"Frank")
    leader.wait(lambda found: found == Leader("Frank", claim.token or 0))
    tree.wait(lambda found: len(found) == 1)
    for watch in watches:
        watch.close()


@pytest.mark.parametrize("how", ["refused", "reset", "black-holed"])
def test_an_outage_is_told_once_and_its_end_with_what_is_there_then(
    how: str,
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Missed changes included; a mere reset need not be told."""
    monkeypatch.setattr("leadership_zookeeper.reader._TIMEOUT", 3.0)
    link, seen = proxy(shared_zookeeper.port), Seen()
    store.put(unique_key, b"1")
    far = opened(shared_zookeeper.url_at(link.port))
    watch = far.watch(unique_key, seen)
    seen.wait(has_value(b"1"))

    if how == "refused":
        link.refuse()
    elif how == "black-holed":
        link.cut()
    if how == "reset":
        link.reset()
    else:
        seen.wait(lambda found: isinstance(found, StoreUnavailable), 8)
    store.put(unique_key, b"2")
    link.listen()
    link.heal()

    seen.wait(has_value(b"2"), 8)
    assert len([found for found in seen if isinstance(found, StoreUnavailable)]) <= 1
    watch.close()


def test_nobody_is_told_of_a_closed_store_when_its_connection_is_replaced(
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither those who wait for the old one just then, nor the watches, which would end."""
    monkeypatch.setattr("leadership_zookeeper.reader._TIMEOUT", 2.0)
    link, seen = proxy(shared_zookeeper.port), Seen()
    store.put(unique_key, b"1")
    far = opened(shared_zookeeper.url_at(link.port))
    watch = far.watch(unique_key, seen)
    seen.wait(has_value(b"1"))
    old = far._reader.link()
    told: list[StoreError] = []

    def read() -> None:
        while not old.over or far._reader.link() is old:
            try:
                with budget(1.0):
                    far.get(unique_key)
            except StoreError as error:
                told.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    link.cut()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(15)
    store.put(unique_key, b"2")
    link.heal()

    assert old.over
    assert {type(error) for error in told if not isinstance(error, StoreUnavailable)} == set()
    seen.wait(has_value(b"2"), 8)
    watch.close()


def test_a_leader_is_confirmed_from_time_to_time(
    store: ZooKeeperStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its age says something."""
    monkeypatch.setattr("leadership_zookeeper.watch._CONFIRM", 0.2)
    seen = Seen()
    store.election(unique_key).enter(store.open_session(4), b"Frank")

    watch = store.election(unique_key).watch_leader(seen)

    wait_until(lambda: len(seen) >= 3)
    assert len(set(seen)) == 1
    assert seen[-1].confirmed_at > seen[0].confirmed_at
    watch.close()


def test_a_callback_that_raises_hurts_nobody(
    store: ZooKeeperStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the other watches, nor its own later calls."""
    calls, calm = Seen(), Seen()

    def fail(change: object) -> None:
        calls(change)
        raise RuntimeError("a mistake")

    watches = [store.watch(unique_key, fail), store.watch(unique_key, calm)]
    calm.wait(lambda found: found is None)
    store.put(unique_key, b"1")

    calm.wait(has_value(b"1"))
    calls.wait(has_value(b"1"))
    assert "a mistake" in caplog.text
    for watch in watches:
        watch.close()


def test_one_thread_serves_all_watches_and_closed_ones_leave_nothing(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """A thousand of them, also with one key: threads, rings and kazoo's own lists."""
    seen = [Seen() for _ in range(1000)]
    watches = [store.watch(f"{unique_key}/{n % 50}", one) for n, one in enumerate(seen)]
    wait_until(lambda: all(seen), 20)
    assert sorted(our_threads()) == ["leadership-zookeeper-reader", "leadership-zookeeper-watch"]
    client = store._reader.link()._client
    assert max(map(len, client._data_watchers.values())) == 1
    began = time.monotonic()
    store.put(f"{unique_key}/7", b"1")
    wait_until(lambda: all(has_value(b"1")(one[-1]) for one in seen[7::50]))
    assert time.monotonic() - began < at_most(2)

    for watch in watches:
        watch.close()

    wait_until(lambda: not store._reader.bell._rings)


def test_close_ends_the_watches(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """From the callback's own thread, too."""
    store, closed = opened(shared_zookeeper.url), threading.Event()

    def close(_: object) -> None:
        store.close()
        closed.set()

    store.watch("anything", close)

    assert closed.wait(5)
    wait_until(lambda: our_threads() == [])
