"""Watches: what they tell, and that they go on whatever happens to the stream."""

from __future__ import annotations

import time
from functools import partial

from leadership_core.errors import StoreUnavailable
from leadership_core.store import Entry, Leading, Waiting
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.conftest import EtcdFactory, ProxyFactory
from tests.etcd.conftest import Opener
from tests.etcd.tools import Seen, has_value, is_led_by, our_threads, wait_until
from tests.servers.etcd import Etcd
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.link import Link


def _is_away(seen: object) -> bool:
    return isinstance(seen, StoreUnavailable)


def _has(entry: Entry, seen: list[Entry]) -> bool:
    return entry in seen


def test_a_watch_tells_the_state_of_now_and_every_last_one(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """A key that is not there, one that comes, changes, gets a session, and goes."""
    seen = Seen()
    watch = store.watch(unique_key, seen)
    seen.wait(lambda one: one is None)

    first = store.put(unique_key, b"1")
    assert seen.wait(has_value(b"1")) == first
    second = store.put(unique_key, b"", session=session)
    assert seen.wait(has_value(b"")) == second
    store.delete(unique_key)
    seen.wait(lambda one: one is None)

    watch.close()
    watch.close()
    told = len(seen)
    store.put(unique_key, b"3")
    store.put(f"{unique_key}/below", b"3")
    time.sleep(0.1)
    assert len(seen) == told


def test_a_tree_is_what_is_below(store: EtcdStore, unique_key: str) -> None:
    """In the order of the keys, without the key itself and without its namesakes."""
    kept = store.put(f"{unique_key}/b", b"1")
    seen = Seen()
    watch = store.watch(unique_key, seen, tree=True)
    seen.wait(lambda one: one == [kept])

    store.put(unique_key, b"itself")
    store.put(f"{unique_key}x/y", b"namesake")
    other = store.put(f"{unique_key}/a/z", b"2")
    seen.wait(lambda one: one == [other, kept])
    changed = store.put(kept.key, b"3")
    seen.wait(lambda one: one == [other, changed])
    store.delete_tree(unique_key)
    seen.wait(lambda one: one == [])
    watch.close()


def test_many_watches_share_one_stream(etcd: Etcd, proxy: ProxyFactory, opened: Opener) -> None:
    """Two hundred of them cost no more connections and no more threads than one."""
    link = proxy(etcd.port)
    store, seen = opened(etcd.url_at(link.port)), [Seen() for _ in range(200)]
    watches = [store.watch(f"k/{number}", one) for number, one in enumerate(seen)]
    for one in seen:
        one.wait(lambda entry: entry is None)
    threads, connections = our_threads(), link.connections

    for number in range(200):
        store.put(f"k/{number}", str(number).encode())

    for number, one in enumerate(seen):
        one.wait(has_value(str(number).encode()))
    assert our_threads() == threads
    assert len(threads) == 4
    assert link.connections == connections <= 4  # up to two of them looked who is there
    for watch in watches:
        watch.close()


def test_a_callback_that_fails_hurts_nobody(store: EtcdStore, unique_key: str) -> None:
    """It is called again the next time, and so are the others."""
    calls, seen = Seen(), Seen()

    def failing(change: object) -> None:
        calls(change)
        raise ZeroDivisionError

    watches = [store.watch(unique_key, failing), store.watch(unique_key, seen)]
    seen.wait(lambda one: one is None)
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    calls.wait(has_value(b"1"))
    store.put(unique_key, b"2")
    calls.wait(has_value(b"2"))
    for watch in watches:
        watch.close()


def test_a_watch_may_be_closed_from_its_callback(store: EtcdStore, unique_key: str) -> None:
    """And nothing is told after that."""
    seen = Seen()

    def once(change: object) -> None:
        seen(change)
        if isinstance(change, Entry):
            watch.close()

    watch = store.watch(unique_key, once)
    seen.wait(lambda one: one is None)
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    store.put(unique_key, b"2")
    time.sleep(0.1)

    assert seen[-1].value == b"1"


def test_a_broken_stream_loses_no_event(
    shared_etcd: Etcd, store: EtcdStore, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """It goes on where it broke off: what happened meanwhile is told, and no outage is."""
    link = proxy(shared_etcd.port)
    far, seen, tree = opened(shared_etcd.url_at(link.port)), Seen(), Seen()
    watches = [far.watch(unique_key, seen), far.watch(unique_key, tree, tree=True)]
    seen.wait(lambda one: one is None)
    tree.wait(lambda one: one == [])

    for number in range(5):
        link.reset()
        store.put(unique_key, str(number).encode())
        below = store.put(f"{unique_key}/{number}", b"1")
        seen.wait(has_value(str(number).encode()))
        tree.wait(partial(_has, below))

    assert not any(map(_is_away, [*seen, *tree]))
    assert len(tree[-1]) == 5
    for watch in watches:
        watch.close()


def test_an_outage_is_told_and_its_end_is(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
) -> None:
    """The next call after a StoreUnavailable says how it is now, even if it is as before."""
    link = proxy(shared_etcd.port)
    far = opened(shared_etcd.url_at(link.port))
    store.election(unique_key).enter(session, b"Frank")
    entry, leader, none = Seen(), Seen(), Seen()
    watches = [
        far.watch(unique_key, entry),
        far.election(unique_key).watch_leader(leader),
        far.election(f"{unique_key}/other").watch_leader(none),
    ]
    entry.wait(lambda one: one is None)
    leader.wait(is_led_by("Frank"))

    link.refuse()
    for seen in (entry, leader, none):
        seen.wait(_is_away)
    kept = store.put(unique_key, b"meanwhile")
    link.listen()

    assert entry.wait(has_value(b"meanwhile")) == kept
    leader.wait(is_led_by("Frank"))
    none.wait(lambda one: one is None)
    for watch in watches:
        watch.close()


def test_a_watch_may_begin_while_the_store_is_away(
    etcd: Etcd, proxy: ProxyFactory, opened: Opener
) -> None:
    """It says so, and what is there once it is back."""
    link = proxy(etcd.port)
    link.refuse()
    far, seen = opened(etcd.url_at(link.port)), Seen()
    watch = far.watch("k", seen)
    seen.wait(_is_away)

    link.listen()

    seen.wait(lambda one: one is None)
    watch.close()


def test_a_dead_link_is_noticed(
    shared_etcd: Etcd, store: EtcdStore, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Nothing is refused and nothing comes: the pings find out, and the watch goes on afterwards."""
    link = proxy(shared_etcd.port)
    far, seen = opened(shared_etcd.url_at(link.port)), Seen()
    watch = far.watch(unique_key, seen)
    seen.wait(lambda one: one is None)

    link.cut()
    store.put(unique_key, b"meanwhile")
    seen.wait(_is_away, 15)
    link.heal()

    seen.wait(has_value(b"meanwhile"), 10)
    watch.close()


def test_a_connection_that_a_router_forgets_is_given_up(
    shared_etcd: Etcd, store: EtcdStore, opened: Opener, unique_key: str
) -> None:
    """It is silent for ever, and new ones work: the watch goes on, soon, on one of those."""
    with Link(shared_etcd.port) as link:
        far, seen = opened(shared_etcd.url_at(link.port)), Seen()
        watch = far.watch(unique_key, seen)
        seen.wait(lambda one: one is None)

        link.vanish()
        store.put(unique_key, b"meanwhile")

        seen.wait(has_value(b"meanwhile"), 5.5)
        watch.close()
        far.close()


def test_a_server_that_restarts_is_found_again(etcd_server: EtcdFactory, opened: Opener) -> None:
    """Watches and elections go on where they were."""
    server = etcd_server()
    store, seen, woken = opened(server.url), Seen(), Seen()
    session = store.open_session(60)
    claim = store.election("race").enter(session, b"Frank")
    turn = store.election("race").on_turn(claim, woken)
    watch = store.election("race").watch_leader(seen)
    seen.wait(is_led_by("Frank"))

    server.kill()
    server.start()
    wait_until(lambda: store.election("race").leader(), 10)
    seen.wait(is_led_by("Frank"), 10)
    assert claim.token is not None
    assert store.election("race").standing(claim) == Leading(claim.token)
    before = len(woken)
    server.cli("del", f"race/{session.id}")

    seen.wait(lambda one: one is None)
    wait_until(lambda: len(woken) > before)
    turn.close()
    watch.close()


def test_compaction_while_watching_is_survived(
    etcd: Etcd, proxy: ProxyFactory, opened: Opener
) -> None:
    """What a watch wants to go on with is gone: it reads anew; a claim is looked at anew."""
    link = proxy(etcd.port)
    store, far, seen, tree, woken = (
        opened(etcd.url),
        opened(etcd.url_at(link.port)),
        Seen(),
        Seen(),
        Seen(),
    )
    leader = Seen()
    session, other = store.open_session(60), far.open_session(60)
    first = store.election("race").enter(session, b"first")
    second = far.election("race").enter(other, b"second")
    turn = far.election("race").on_turn(second, woken)
    assert isinstance(far.election("race").standing(second), Waiting)
    watches = [
        far.watch("k", seen),
        far.watch("k", tree, tree=True),
        far.election("race").watch_leader(leader),
    ]
    seen.wait(lambda one: one is None)
    tree.wait(lambda one: one == [])
    leader.wait(is_led_by("first"))

    link.cut()
    link.reset()
    store.put("k", b"1")
    below = store.put("k/below", b"1")
    store.election("race").withdraw(first)
    etcd.compact()
    link.heal()

    seen.wait(has_value(b"1"), 15)
    tree.wait(lambda one: one == [below], 15)
    leader.wait(is_led_by("second"), 15)
    wait_until(lambda: woken, 15)
    assert second.token is not None
    assert far.election("race").standing(second) == Leading(second.token)
    store.put("k", b"2")
    seen.wait(has_value(b"2"))
    turn.close()
    for watch in watches:
        watch.close()


def test_a_member_that_is_cut_off_from_its_cluster_leaves_nobody_hanging(
    etcd_cluster: EtcdCluster, opened: Opener
) -> None:
    """It says itself that it has no leader, and the watch goes on at another member."""
    follower, others = etcd_cluster.followers()[0], etcd_cluster.nodes
    ports = [follower.port] + [node.port for node in others if node is not follower]
    store, near = opened(follower.url_at(*ports)), opened(etcd_cluster.leader().url)
    seen = Seen()
    watch = store.watch("k", seen)
    seen.wait(lambda one: one is None)

    etcd_cluster.cut_off(follower)
    near.put("k", b"1")

    seen.wait(has_value(b"1"), 10)
    watch.close()
