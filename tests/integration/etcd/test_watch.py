"""Watches: they survive breaks, outages, restarts and compactions."""

from __future__ import annotations

from functools import partial

from leadership_core.backend.entries import Entry
from leadership_core.backend.protocols import Leading, Waiting
from leadership_core.errors import StoreUnavailable
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.conftest import EtcdFactory, ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import is_led_by, store_threads
from tests.support.servers.etcd import Etcd
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.link import Link
from tests.support.waiting import Seen, has_value, wait_until


def _is_away(seen: object) -> bool:
    return isinstance(seen, StoreUnavailable)


def _has(entry: Entry, seen: list[Entry]) -> bool:
    return entry in seen


def test_many_watches_share_one_stream(etcd: Etcd, proxy: ProxyFactory, opened: Opener) -> None:
    """Two hundred of them take no more connections and threads than one."""
    link = proxy(etcd.port)
    store, seen = opened(etcd.url_at(link.port)), [Seen() for _ in range(200)]
    watches = [store.watch(f"k/{number}", one) for number, one in enumerate(seen)]
    for one in seen:
        one.wait(lambda entry: entry is None)
    threads, connections = store_threads(), link.connections

    for number in range(200):
        store.put(f"k/{number}", str(number).encode())

    for number, one in enumerate(seen):
        one.wait(has_value(str(number).encode()))
    assert store_threads() == threads
    assert len(threads) == 4
    assert link.connections == connections <= 4  # up to two of them are probes
    for watch in watches:
        watch.close()


def test_broken_stream_loses_no_event(
    shared_etcd: Etcd, store: EtcdStore, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The watch continues where it broke off, and reports no outage."""
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


def test_outage_and_recovery_are_reported(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    proxy: ProxyFactory,
    opened: Opener,
    unique_key: str,
) -> None:
    """The next call after a `StoreUnavailable` has the present state, even if it is unchanged."""
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


def test_watch_may_begin_during_outage(etcd: Etcd, proxy: ProxyFactory, opened: Opener) -> None:
    """It reports the outage, and the state once the store is back."""
    link = proxy(etcd.port)
    link.refuse()
    far, seen = opened(etcd.url_at(link.port)), Seen()
    watch = far.watch("k", seen)
    seen.wait(_is_away)

    link.listen()

    seen.wait(lambda one: one is None)
    watch.close()


def test_dead_link_is_noticed(
    shared_etcd: Etcd, store: EtcdStore, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Nothing is refused and nothing comes: the pings detect it, and the watch goes on."""
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


def test_connection_forgotten_by_router_is_replaced(
    shared_etcd: Etcd, store: EtcdStore, opened: Opener, unique_key: str
) -> None:
    """It is silent, and new ones work: the watch soon continues on one of those."""
    with Link(shared_etcd.port) as link:
        far, seen = opened(shared_etcd.url_at(link.port)), Seen()
        watch = far.watch(unique_key, seen)
        seen.wait(lambda one: one is None)

        link.vanish()
        store.put(unique_key, b"meanwhile")

        seen.wait(has_value(b"meanwhile"), 5.5)
        watch.close()
        far.close()


def test_watches_and_elections_survive_server_restart(
    etcd_server: EtcdFactory, opened: Opener
) -> None:
    """They continue where they were."""
    server = etcd_server()
    store, seen, woken = opened(server.url), Seen(), Seen()
    session = store.open_session(60)
    claim = store.election("election").enter(session, b"Frank")
    claim_watch = store.election("election").watch_claim(claim, woken)
    watch = store.election("election").watch_leader(seen)
    seen.wait(is_led_by("Frank"))

    server.kill()
    server.start()
    wait_until(lambda: store.election("election").leader(), 10)
    seen.wait(is_led_by("Frank"), 10)
    assert claim.token is not None
    assert store.election("election").status(claim) == Leading(claim.token)
    before = len(woken)
    server.cli("del", f"election/{session.id}")

    seen.wait(lambda one: one is None)
    wait_until(lambda: len(woken) > before)
    claim_watch.close()
    watch.close()


def test_compaction_while_watching_is_survived(
    etcd: Etcd, proxy: ProxyFactory, opened: Opener
) -> None:
    """The watch cannot continue: the state is read again, and a claim is woken."""
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
    first = store.election("election").enter(session, b"first")
    second = far.election("election").enter(other, b"second")
    claim_watch = far.election("election").watch_claim(second, woken)
    assert isinstance(far.election("election").status(second), Waiting)
    watches = [
        far.watch("k", seen),
        far.watch("k", tree, tree=True),
        far.election("election").watch_leader(leader),
    ]
    seen.wait(lambda one: one is None)
    tree.wait(lambda one: one == [])
    leader.wait(is_led_by("first"))

    link.cut()
    link.reset()
    store.put("k", b"1")
    below = store.put("k/below", b"1")
    store.election("election").withdraw(first)
    etcd.compact()
    link.heal()

    seen.wait(has_value(b"1"), 8)
    tree.wait(lambda one: one == [below], 8)
    leader.wait(is_led_by("second"), 8)
    wait_until(lambda: woken, 8)
    assert second.token is not None
    assert far.election("election").status(second) == Leading(second.token)
    store.put("k", b"2")
    seen.wait(has_value(b"2"))
    claim_watch.close()
    for watch in watches:
        watch.close()


def test_watch_leaves_member_cut_off_from_its_cluster(
    etcd_cluster: EtcdCluster, opened: Opener
) -> None:
    """The member reports that it has no leader, and the watch continues at another one."""
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
