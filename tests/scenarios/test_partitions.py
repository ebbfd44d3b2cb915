"""The link to the server is cut, one way or both: one believer at most, and nobody is stuck."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core import Candidate, Follower, StoreClosed, open_store
from tests.conftest import ProxyFactory
from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet, Reign, await_true
from tests.scenarios.places import on_servers
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.owners import connections_to
from tests.servers.proxy import Proxy, Way
from tests.servers.zookeeper import ZooKeeper
from tests.support.machine import at_most

_CUTS: dict[str, tuple[Way, ...]] = {
    "replies lost": ("down",),
    "requests lost": ("up",),
    "black-holed": (),
}


@on_servers
def test_links_cut_for_three_ttl(
    make_fleet: FleetFactory,
    place: Place,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
    unique_key: str,
    measured: Report,
) -> None:
    """Belief ends before another's begins, the lock gets free, and the old leader stands again."""
    # All at a time, each with a link and an election of its own, because most of it is waiting.
    links = {name: proxy(shared.port) for name in _CUTS}
    fleets = {name: make_fleet(place, f"{unique_key}/{n}") for n, name in enumerate(_CUTS)}
    for name, fleet in fleets.items():
        fleet.start("far", url=shared.url_at(links[name].port))
    far = {name: fleet.await_reign(15) for name, fleet in fleets.items()}
    for fleet in fleets.values():
        fleet.start("near").await_event("campaigning", 15)
    time.sleep(0.5)  # so that "near" waits for its turn

    cut = {}
    for name, ways in _CUTS.items():
        cut[name] = now()
        links[name].cut(*ways)
    near = {}
    for name, fleet in fleets.items():
        near[name] = _watch_takeover(name, fleet, far[name], cut[name], measured)
    time.sleep(max(0.0, 3 * place.ttl - (now() - min(cut.values())) / 1e9))
    for link in links.values():
        link.heal()

    for name in fleets:
        far[name].worker.await_event("store_up", 2 * place.ttl + 5)
        near[name].worker.stop()
    for name, fleet in fleets.items():
        assert fleet.await_reign(10, after=near[name]).worker is far[name].worker
        fleet.finish()


def _watch_takeover(name: str, fleet: Fleet, far: Reign, cut: int, measured: Report) -> Reign:
    near = fleet.await_reign(3 * fleet.ttl + 3, after=far)
    measured(f"{name}: from the cut to the next leader", (near.since - cut) / 1e9)
    lost = far.worker.await_event("lost", 1)
    assert lost.reason == "expired"
    belief = far.worker.diary.beliefs[-1]
    assert not belief.open
    measured(f"{name}: belief went on for", (belief.until - cut) / 1e9)
    assert (belief.until - cut) / 1e9 < fleet.ttl - 0.5 + 0.1
    # Of the three, the lock may be held longest where renewals still arrive.
    assert (near.since - cut) / 1e9 < at_most(3 * fleet.ttl + 1)
    return near


@pytest.mark.parametrize(
    ("cut", "leads"),
    [
        *((cut, True) for cut in _CUTS),
        ("black-holed", False),
        pytest.param("replies lost", False, marks=pytest.mark.soak),
        pytest.param("requests lost", False, marks=pytest.mark.soak),
    ],
)
@on_servers
def test_stop_and_close_return_although_nothing_answers(
    cut: str,
    leads: bool,
    place: Place,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
    unique_key: str,
) -> None:
    """Within their timeout, and all iterators end, in order; nothing is left."""
    link = proxy(shared.port)
    threads = threading.active_count()
    with open_store(shared.url) as near, open_store(shared.url_at(link.port)) as store:
        if not leads:
            assert Candidate(near, unique_key, "near", ttl=place.ttl).wait_elected(10)
        first, second = (
            Candidate(store, f"{unique_key}{suffix}", "far", ttl=place.ttl) for suffix in ("", "/2")
        )
        readers = [_Reader(first), _Reader(second), _Reader(Follower(store, unique_key))]
        if leads:
            assert first.wait_elected(10)
        assert second.wait_elected(10)
        await_true("the follower knows", lambda: any(readers[2].told), 5)
        time.sleep(0.3)
        link.cut(*_CUTS[cut])
        time.sleep(0.2)

        at = time.monotonic()
        first.stop(timeout=0.5)
        assert time.monotonic() - at < at_most(0.8)
        assert not first.is_leader

        at = time.monotonic()
        store.close(timeout=0.5)
        assert time.monotonic() - at < at_most(1.6)  # it also waits, for a moment, for its threads
        assert not second.is_leader
        for reader in readers:
            reader.join()
        with pytest.raises(StoreClosed):
            first.run_for_election()
        await_true("no connection is left", lambda: not connections_to(link.port), 2)
    await_true("no thread is left", lambda: threading.active_count() <= threads, 2)

    assert readers[0].told == ([False, True, False] if leads else [False])
    assert readers[1].told == [False, True, False]
    for reader in readers:
        assert reader.events[-1] == "stopped"
        assert reader.events.count("stopped") == 1
    assert readers[1].events[-2] == "resigned" or "store_down" in readers[1].events


class _Reader:
    """Reads both iterators of a candidate or a follower to their ends."""

    def __init__(self, member: Candidate | Follower) -> None:
        self.told: list[object] = []
        self.events: list[str] = []
        verdicts = (
            member.run_for_election() if isinstance(member, Candidate) else member.follow_election()
        )
        events = member.events()
        self._threads = [
            threading.Thread(target=lambda: self.told.extend(verdicts)),
            threading.Thread(target=lambda: self.events.extend(e.name for e in events)),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(1.0)
            assert not thread.is_alive()


@on_servers
def test_a_link_that_is_reset_costs_nothing(
    make_fleet: FleetFactory,
    place: Place,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
) -> None:
    """Broken connections, and a server that refuses them for less than the lease, end no term."""
    link: Proxy = proxy(shared.port)
    fleet = make_fleet(place, ttl=3.0)
    far = fleet.start("far", url=shared.url_at(link.port))
    reign = fleet.await_reign(15)
    fleet.start("near").await_event("campaigning", 15)
    for _ in range(2):
        link.reset()
        time.sleep(0.3)
    link.refuse()
    time.sleep(1.0)
    link.listen()
    time.sleep(fleet.ttl)
    assert fleet.await_reign(1).token == reign.token
    assert far.count("lost") == 0
    assert far.count("suspended") == far.count("resumed")
    fleet.finish()
