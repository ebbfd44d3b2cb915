"""`etcdctl elect` and kazoo's `Election` in the same elections: never two at once, handover both ways."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet
from tests.scenarios.outsider import Etcdctl, Kazoo, Outsider
from tests.scenarios.sweep import sweep
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

Enlist = Callable[[str], Outsider]


@pytest.fixture
def enlist(
    kind: str, shared: Etcd | ZooKeeper, tmp_path: Path
) -> Iterator[Callable[[str], Outsider]]:
    """Start outsiders on a key; they are ended."""
    started: list[Outsider] = []

    def enlist(key: str) -> Outsider:
        number = len(started) + 1
        if isinstance(shared, Etcd):
            started.append(Etcdctl(shared, tmp_path, key, number))
        else:
            started.append(Kazoo(shared, tmp_path, f"/{key}", number))
        return started[-1]

    yield enlist
    for outsider in started:
        outsider.process.kill()


outsiders = pytest.mark.parametrize("kind", ["etcd", "zookeeper"])


@pytest.mark.parametrize("crash", [False, True], ids=["in order", "by a crash"])
@outsiders
def test_they_take_turns(
    make_fleet: FleetFactory, crash: bool, kind: str, place: Place, enlist: Enlist, measured: Report
) -> None:
    """Ours, theirs, ours, theirs, ours: whoever leaves, the other one that waits leads next."""
    fleet = make_fleet(place)
    (ann,) = fleet.start_all("ann")
    reign = fleet.await_reign(10)
    theirs = []
    for _ in range(1 if crash else 2):
        outsider = enlist(fleet.key)
        theirs.append(outsider)
        time.sleep(0.5)
        assert not outsider.leads()
        assert fleet.await_reign(1).token == reign.token

        told = now()
        if crash:
            ann.signal(signal.SIGKILL)
            outsider.await_belief(place.times.failover() + 3)
            (ann,) = fleet.start_all("ann")
        else:
            ann.signal(signal.SIGUSR1)
            outsider.await_belief(5)
        measured("from ours to theirs", (now() - told) / 1e9)
        time.sleep(0.7)  # longer than the cooldown
        assert fleet.reign() is None
        assert outsider.leads()

        told = now()
        if crash:
            outsider.crash()
        else:
            outsider.stop()
        # etcdctl's lease is 60 s long, kazoo's session here 4 s; a crash ends neither at once.
        if crash and kind == "etcd":
            break
        reign = fleet.await_reign(8, after=reign)
        measured("from theirs to ours", (reign.since - told) / 1e9)
    if not (crash and kind == "etcd"):
        fleet.finish()
    _sweep(fleet, theirs)


@outsiders
def test_ours_wait_for_theirs(
    make_fleet: FleetFactory, kind: str, place: Place, enlist: Enlist
) -> None:
    """The key is one that they have made; two of theirs and two of ours follow each other."""
    fleet = make_fleet(place)
    first = enlist(fleet.key)
    first.await_belief(10)
    fleet.start_all("ann")
    time.sleep(0.3)
    second = enlist(fleet.key)
    time.sleep(0.5)
    fleet.start_all("ben")
    time.sleep(0.3)
    assert fleet.reign() is None

    first.stop()
    ann = fleet.await_reign(5)
    assert not second.leads()
    ann.worker.stop()
    second.await_belief(5)
    assert fleet.reign() is None
    second.stop()
    ben = fleet.await_reign(5, after=ann)
    assert ben.worker is not ann.worker
    fleet.finish()
    _sweep(fleet, [first, second])


@outsiders
def test_a_key_below_anothers(
    make_fleet: FleetFactory, kind: str, place: Place, enlist: Enlist
) -> None:
    """Theirs at `svc/leader` and ours at `svc` lead at the same time, whoever comes first."""
    ours_first, theirs_first = make_fleet(place), make_fleet(place, key=f"{place.ttl}-second")
    ours_first.start_all("ann")
    ours_first.await_reign(10)
    enlist(f"{ours_first.key}/leader").await_belief(10)

    below = enlist(f"{theirs_first.key}/leader")
    below.await_belief(10)
    theirs_first.start_all("ben")
    theirs_first.await_reign(10)
    assert below.leads()

    ours_first.finish()
    theirs_first.finish()


def test_etcdctl_reads_our_leader(
    make_fleet: FleetFactory, on_etcd: Place, shared_etcd: Etcd
) -> None:
    """`etcdctl elect --listen` prints the value that the candidate was given."""
    fleet = make_fleet(on_etcd)
    fleet.start_all("ann")
    fleet.await_reign(10)

    listen = shared_etcd.cli_process(
        "elect", "--listen", fleet.key, log=fleet.folder / "listen.log"
    )
    listen.start()
    try:
        listen.wait_until(lambda: "ann" in listen.tail().splitlines(), 5)
    finally:
        listen.kill()
    fleet.finish()


def _sweep(fleet: Fleet, theirs: list[Outsider]) -> None:
    sweep([*(worker.diary for worker in fleet.workers), *(one.diary for one in theirs)])
