"""An operator takes a leader's claim away: it says so at once, and there is a new election."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from subprocess import CalledProcessError

import pytest
from kazoo.exceptions import KazooException

from leadership_core import open_store
from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet
from tests.scenarios.offices import office_of
from tests.scenarios.places import on_server_releases, on_servers
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.releases import kind_of
from tests.servers.zookeeper import ZooKeeper

pytestmark = pytest.mark.slow

_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy


_REASONS = {
    # A session that is gone may be found out by its key being free, or by the next renewal; what
    # was written by hand may be gone, and a rival's claim there, when the leader looks.
    "delete": {"deleted"},
    "end_session": {"session_lost", "deleted"},
    "overwrite": {"overwritten", "deleted"},
    "delete_all": {"deleted"},
}


@on_server_releases
def test_operators(
    make_fleet: FleetFactory,
    kind: str,
    place: Place,
    shared: Consul | Etcd | ZooKeeper,
    measured: Report,
) -> None:
    """Deleting the claim, ending its session, writing over it, deleting all there is at the key."""
    fleet, office = make_fleet(place), office_of(shared)
    fleet.start_all("ann", "ben")
    deeds = {
        "delete": lambda: office.delete(fleet.key),
        "end_session": lambda: office.end_session(fleet.key),
        "overwrite": lambda: office.overwrite(fleet.key, "mine"),
        "delete_all": lambda: office.delete_all(fleet.key),
    }
    # Twice each: it may hit one that has led before.
    for name in [*deeds, *deeds]:
        if name == "overwrite" and kind_of(kind) == "zookeeper":
            _overwrite_value(fleet, deeds[name])
        else:
            _take_away(fleet, measured, name, deeds[name])
    fleet.finish(gap=_NOTIFICATION)


def _overwrite_value(fleet: Fleet, overwrite: Callable[[], object]) -> None:
    # On ZooKeeper a node stays its session's whatever is written to it: whoever led may go on, or
    # stand again; what counts is that somebody leads.
    before = fleet.await_reign(10)
    overwrite()
    time.sleep(0.3)
    assert fleet.await_reign(5).token >= before.token


@on_servers
def test_an_operator_who_does_not_stop(
    make_fleet: FleetFactory, kind: str, place: Place, shared: Consul | Etcd | ZooKeeper
) -> None:
    """Whatever moment of an election it hits, it stops nobody from leading afterwards."""
    fleet, office = make_fleet(place), office_of(shared)
    fleet.start_all("ann", "ben")
    fleet.await_reign(10)
    rng = random.Random(5)
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        if isinstance(shared, Consul):
            # Without a body, a PUT writes an empty value.
            shared.request(rng.choice(["PUT", "PUT", "DELETE"]), f"/v1/kv/{fleet.key}")
        else:
            deed = rng.choice([office.delete, office.delete, office.end_session, office.delete_all])
            with contextlib.suppress(
                AssertionError, CalledProcessError, ConnectionError, KazooException
            ):
                deed(fleet.key)  # there may be nobody
        time.sleep(rng.choice([0.0, 0.001, 0.005, 0.02]))
    last = max(belief.token for worker in fleet.workers for belief in worker.diary.read().beliefs)
    fleet.await_reign(place.times.failover() + 2, after=last - 1)
    fleet.finish(gap=_NOTIFICATION)


def test_operators_of_sqlite(make_fleet: FleetFactory, on_sqlite: Place, measured: Report) -> None:
    """Deleting the key and writing over it, from another process."""
    fleet = make_fleet(on_sqlite)
    fleet.start_all("ann", "ben")
    with open_store(on_sqlite.url) as store:
        for _ in range(2):
            _take_away(fleet, measured, "delete", lambda: store.delete(fleet.key))
            _take_away(fleet, measured, "overwrite", lambda: store.put(fleet.key, b"mine"))
    fleet.finish(gap=_NOTIFICATION)


def _take_away(fleet: Fleet, measured: Report, what: str, operate: Callable[[], object]) -> None:
    before = fleet.await_reign(10)
    losses = before.worker.count("lost")
    operate()
    done = now()
    lost = before.worker.await_event("lost", 5, after=losses)
    after = fleet.await_reign(10, after=before)

    assert lost.reason in _REASONS[what]
    assert (lost.at - done) / 1e9 < _NOTIFICATION
    measured(f"{what}: from the operator's answer to lost", (lost.at - done) / 1e9)
    measured(f"{what}: from the operator's answer to the next leader", (after.since - done) / 1e9)
