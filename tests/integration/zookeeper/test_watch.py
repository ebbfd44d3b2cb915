"""Watches of entries, trees and leaders, also across outages."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Leader
from leadership_core.errors import StoreError, StoreUnavailable
from leadership_zookeeper.store import ZooKeeperStore
from tests.conftest import ProxyFactory
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import our_threads
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen, at_most, has_value, wait_until


def _shared_session(store: ZooKeeperStore) -> int:
    found = store.debug_state().client.credentials
    return found[0] if found else 0


def test_watch_reports_creation_and_deletion_of_entry(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """A folder at the key counts as no entry."""
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


def test_tree_watch_reports_all_entries_below_key(store: ZooKeeperStore, unique_key: str) -> None:
    """In new folders, too, but not the key itself, nor keys that only begin alike."""
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


def test_tree_watch_reads_only_changed_nodes(store: ZooKeeperStore, unique_key: str) -> None:
    """One change in a large tree takes a few requests."""
    for number in range(60):
        store.put(f"{unique_key}/{number % 6}/{number}", b"0")
    seen = Seen()
    watch = store.watch(unique_key, seen, tree=True)
    seen.wait(lambda found: len(found) == 60)
    before = store.debug_state().client.debug_state().requests

    store.put(f"{unique_key}/3/3", b"1")
    seen.wait(lambda found: any(entry.value == b"1" for entry in found))

    requests = store.debug_state().client.debug_state().requests - before
    assert 0 < requests < 10  # the write is among them
    watch.close()


def test_watches_continue_in_new_session(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, unique_key: str
) -> None:
    """The session that had the watches is ended by force."""
    key, tree, leader = Seen(), Seen(), Seen()
    watches = [
        store.watch(unique_key, key),
        store.watch(unique_key, tree, tree=True),
        store.election(f"{unique_key}/leader").watch_leader(leader),
    ]
    for seen in (key, tree, leader):
        seen.wait(lambda found: not found)
    session = _shared_session(store)

    shared_zookeeper.expire(session)
    wait_until(lambda: _shared_session(store) not in {0, session})

    store.put(unique_key, b"1")
    key.wait(has_value(b"1"))
    claim = store.election(f"{unique_key}/leader").enter(store.open_session(4), b"Frank")
    leader.wait(lambda found: found == Leader("Frank", claim.token or 0))
    tree.wait(lambda found: len(found) == 1)
    for watch in watches:
        watch.close()


@pytest.mark.parametrize("how", ["refused", "reset", "black-holed"])
def test_watch_reports_outage_once_and_then_current_state(
    how: str,
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Missed changes are included; a mere reset need not be reported."""
    monkeypatch.setattr("leadership_zookeeper.shared_client._TIMEOUT", 3.0)
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


def test_replaced_client_is_not_reported_as_closed_store(
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither to threads that wait for it, nor to watches, which would end."""
    monkeypatch.setattr("leadership_zookeeper.shared_client._TIMEOUT", 2.0)
    link, seen = proxy(shared_zookeeper.port), Seen()
    store.put(unique_key, b"1")
    far = opened(shared_zookeeper.url_at(link.port))
    watch = far.watch(unique_key, seen)
    seen.wait(has_value(b"1"))
    old = far.debug_state().client
    errors: list[StoreError] = []

    def read() -> None:
        while not old.closed or far.debug_state().client is old:
            try:
                with call_timeout(1.0):
                    far.get(unique_key)
            except StoreError as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    link.cut()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(15)
    store.put(unique_key, b"2")
    link.heal()

    assert old.closed
    assert {type(error) for error in errors if not isinstance(error, StoreUnavailable)} == set()
    seen.wait(has_value(b"2"), 8)
    watch.close()


def test_leader_watch_refreshes_unchanged_leader(
    store: ZooKeeperStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the age of a report says how current it is."""
    monkeypatch.setattr("leadership_zookeeper.watch._REFRESH_INTERVAL", 0.2)
    seen = Seen()
    store.election(unique_key).enter(store.open_session(4), b"Frank")

    watch = store.election(unique_key).watch_leader(seen)

    wait_until(lambda: len(seen) >= 3)
    assert len(set(seen)) == 1
    assert seen[-1].confirmed_at > seen[0].confirmed_at
    watch.close()


def test_failing_callback_does_not_affect_other_watches(
    store: ZooKeeperStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own later calls are not affected either."""
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


def test_thousand_watches_share_one_thread_and_leave_nothing(
    store: ZooKeeperStore, unique_key: str
) -> None:
    """No thread, no subscription, and one function for each path in kazoo's lists."""
    seen = [Seen() for _ in range(1000)]
    watches = [store.watch(f"{unique_key}/{n % 50}", one) for n, one in enumerate(seen)]
    wait_until(lambda: all(seen), 20)
    assert sorted(our_threads()) == ["leadership-zookeeper-client", "leadership-zookeeper-watch"]
    assert store.debug_state().client.debug_state().watches == 1
    began = time.monotonic()
    store.put(f"{unique_key}/7", b"1")
    wait_until(lambda: all(has_value(b"1")(one[-1]) for one in seen[7::50]))
    assert time.monotonic() - began < at_most(2)

    for watch in watches:
        watch.close()

    wait_until(lambda: not store.debug_state().watched_paths)


def test_store_close_in_callback_ends_watches(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """Though the callback runs in the thread that is to end."""
    store, closed = opened(shared_zookeeper.url), threading.Event()

    def close(_: object) -> None:
        store.close()
        closed.set()

    store.watch("anything", close)

    assert closed.wait(5)
    wait_until(lambda: our_threads() == [])
