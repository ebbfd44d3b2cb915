"""A session that is ended while its candidate waits: it must not believe when its turn comes."""

from __future__ import annotations

import signal
import time

import pytest

from tests.scenarios.conftest import FleetFactory, Place
from tests.scenarios.fleet import Fleet, Worker, await_true
from tests.scenarios.offices import Office, office_of
from tests.scenarios.places import on_servers
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "after a while"])
@on_servers
def test_a_waiting_candidate_loses_its_session(
    make_fleet: FleetFactory, at_once: bool, place: Place, shared: Consul | Etcd | ZooKeeper
) -> None:
    """The leader resigns: the one that waited stands anew, and is elected for a term of its own."""
    fleet, office = make_fleet(place), office_of(shared)
    fleet.start("ann")
    reign = fleet.await_reign(10)
    ben, session = _start_waiting(fleet, office, "ben")

    office.end(session)
    if not at_once:
        time.sleep(place.ttl)
    reign.worker.signal(signal.SIGUSR1)

    after = fleet.await_reign(10, after=reign)
    assert session not in office.sessions()
    assert after.worker.count("lost") == 0
    ben.stop()
    fleet.finish()


@on_servers
def test_all_that_wait_lose_their_sessions(
    make_fleet: FleetFactory, place: Place, shared: Consul | Etcd | ZooKeeper
) -> None:
    """All of them stand anew, none leads together with another, and each gets its turn."""
    fleet, office = make_fleet(place), office_of(shared)
    fleet.start("ann")
    reign = fleet.await_reign(10)
    waiting = [_start_waiting(fleet, office, who)[1] for who in ("ben", "cat", "dan")]

    for session in waiting:
        office.end(session)
    for _ in range(4):
        reign.worker.stop()
        if all(worker.ending for worker in fleet.workers):
            break
        reign = fleet.await_reign(10, after=reign)
    fleet.finish()
    assert {len(worker.diary.beliefs) for worker in fleet.workers} == {1}


def _start_waiting(fleet: Fleet, office: Office, who: str) -> tuple[Worker, object]:
    """Start one more, and return it with the session that it has opened."""
    before = office.sessions()
    worker = fleet.start(who)
    worker.await_event("campaigning", 15)
    await_true("it has a session", lambda: len(office.sessions() - before) == 1, 10)
    time.sleep(0.3)  # so that it stands
    (session,) = office.sessions() - before
    return worker, session
