"""etcd forgets its history while somebody watches: nothing is missed."""

from __future__ import annotations

import time

from tests.conftest import ProxyFactory
from tests.scenarios.conftest import FleetFactory, Place
from tests.scenarios.fleet import await_true
from tests.scenarios.test_followers import watching
from tests.servers.etcd import Etcd


def test_history_is_compacted_under_those_who_watch(
    make_fleet: FleetFactory, on_etcd: Place, shared_etcd: Etcd
) -> None:
    """Who leads goes on leading, who waits is elected next, who follows is told."""
    fleet = make_fleet(on_etcd)
    fleet.start_all("ann", "ben")
    reign = fleet.await_reign(10)
    with watching(on_etcd.url, fleet.key) as watcher:
        watcher.await_line((reign.worker.who[2:], reign.token), 5)
        _write_and_compact(shared_etcd, fleet.key)
        time.sleep(0.5)
        assert fleet.await_reign(1).token == reign.token

        reign.worker.stop()
        after = fleet.await_reign(5, after=reign)
        watcher.await_line((after.worker.who[2:], after.token), 5)
        assert after.worker.count("store_down") == 0
        fleet.finish()


def test_watches_are_broken_and_what_they_missed_is_compacted(
    make_fleet: FleetFactory, on_etcd: Place, shared_etcd: Etcd, proxy: ProxyFactory
) -> None:
    """They look at the present state and go on from there."""
    link = proxy(shared_etcd.port)
    fleet = make_fleet(on_etcd, ttl=4.0)
    ann = fleet.start("ann")
    reign = fleet.await_reign(10)
    ben = fleet.start("ben", url=shared_etcd.url_at(link.port))
    ben.await_event("campaigning", 15)
    with watching(shared_etcd.url_at(link.port), fleet.key) as watcher:
        watcher.await_line(("ann", reign.token), 5)
        time.sleep(0.5)  # so that "ben" waits for its turn

        link.refuse()
        _write_and_compact(shared_etcd, fleet.key)
        ann.stop()
        await_true("it has left", lambda: not ann.process.alive, 10)
        _write_and_compact(shared_etcd, fleet.key)
        link.listen()

        after = fleet.await_reign(10, after=reign)
        assert after.worker is ben
        watcher.await_line(("ben", after.token), 10)
        fleet.finish()


def _write_and_compact(etcd: Etcd, key: str) -> None:
    for number in range(10):
        etcd.cli("put", f"{key}-other", str(number))
    etcd.compact()
