"""Elections shared with `etcdctl elect` and kazoo's `Election`: never two leaders, handover both ways."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.foreign_clients import Etcdctl, ForeignClient, Kazoo
from tests.support.oracle import assert_sound
from tests.support.recording import now
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.workers import Fleet
from tests.system.conftest import FleetFactory, Report, TargetStore

Enlist = Callable[[str], ForeignClient]


@pytest.fixture
def enlist(
    kind: str, shared: Etcd | ZooKeeper, tmp_path: Path
) -> Iterator[Callable[[str], ForeignClient]]:
    """Start foreign clients on a key, which are ended with the test."""
    started: list[ForeignClient] = []

    def enlist(key: str) -> ForeignClient:
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
def test_candidate_alternates_with_foreign_client(
    make_fleet: FleetFactory,
    crash: bool,
    kind: str,
    target: TargetStore,
    enlist: Enlist,
    measured: Report,
) -> None:
    """Ours, theirs, ours, theirs, ours: when the leader leaves, the waiting one leads."""
    fleet = make_fleet(target)
    (ann,) = fleet.start_all("ann")
    leader = fleet.await_leader(10)
    theirs = []
    for _ in range(1 if crash else 2):
        outsider = enlist(fleet.key)
        theirs.append(outsider)
        time.sleep(0.5)
        assert not outsider.leads()
        assert fleet.await_leader(1).token == leader.token

        stopped = now()
        if crash:
            ann.signal(signal.SIGKILL)
            outsider.await_belief(target.times.failover() + 3)
            (ann,) = fleet.start_all("ann")
        else:
            ann.signal(signal.SIGUSR1)
            outsider.await_belief(5)
        measured("from ours to theirs", (now() - stopped) / 1e9)
        time.sleep(0.7)  # longer than the cooldown
        assert fleet.leader() is None
        assert outsider.leads()

        stopped = now()
        if crash:
            outsider.crash()
        else:
            outsider.stop()
        # etcdctl's lease is 60 s long, kazoo's session here 4 s; a crash ends neither at once.
        if crash and kind == "etcd":
            break
        leader = fleet.await_leader(8, after=leader)
        measured("from theirs to ours", (leader.since - stopped) / 1e9)
    if not (crash and kind == "etcd"):
        fleet.finish()
    _sweep(fleet, theirs)


@outsiders
def test_candidate_waits_for_foreign_client(
    make_fleet: FleetFactory, kind: str, target: TargetStore, enlist: Enlist
) -> None:
    """The key was created by a foreign client; two of theirs and two of ours follow each other."""
    fleet = make_fleet(target)
    first = enlist(fleet.key)
    first.await_belief(10)
    fleet.start_all("ann")
    time.sleep(0.3)
    second = enlist(fleet.key)
    time.sleep(0.5)
    fleet.start_all("ben")
    time.sleep(0.3)
    assert fleet.leader() is None

    first.stop()
    ann = fleet.await_leader(5)
    assert not second.leads()
    ann.worker.stop()
    second.await_belief(5)
    assert fleet.leader() is None
    second.stop()
    ben = fleet.await_leader(5, after=ann)
    assert ben.worker is not ann.worker
    fleet.finish()
    _sweep(fleet, [first, second])


@outsiders
def test_key_below_foreign_key_is_independent(
    make_fleet: FleetFactory, kind: str, target: TargetStore, enlist: Enlist
) -> None:
    """Theirs at `svc/leader` and ours at `svc` lead at the same time, started in either order."""
    ours_first, theirs_first = make_fleet(target), make_fleet(target, key=f"{target.ttl}-second")
    ours_first.start_all("ann")
    ours_first.await_leader(10)
    enlist(f"{ours_first.key}/leader").await_belief(10)

    below = enlist(f"{theirs_first.key}/leader")
    below.await_belief(10)
    theirs_first.start_all("ben")
    theirs_first.await_leader(10)
    assert below.leads()

    ours_first.finish()
    theirs_first.finish()


def test_etcdctl_reads_our_leader(
    make_fleet: FleetFactory, on_etcd: TargetStore, shared_etcd: Etcd
) -> None:
    """`etcdctl elect --listen` prints the candidate's value."""
    fleet = make_fleet(on_etcd)
    fleet.start_all("ann")
    fleet.await_leader(10)

    listen = shared_etcd.cli_process(
        "elect", "--listen", fleet.key, log=fleet.folder / "listen.log"
    )
    listen.start()
    try:
        listen.wait_until(lambda: "ann" in listen.tail().splitlines(), 5)
    finally:
        listen.kill()
    fleet.finish()


def _sweep(fleet: Fleet, theirs: list[ForeignClient]) -> None:
    assert_sound(
        [*(worker.recording for worker in fleet.workers), *(one.recording for one in theirs)]
    )
