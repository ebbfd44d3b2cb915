"""Elections shared with Curator's LeaderLatch and LeaderSelector: one leader, hand-over both ways."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from leadership_core import Follower, open_store
from tests.support.foreign_clients import Curator
from tests.support.oracle import assert_sound
from tests.support.servers.provision import Server
from tests.support.servers.requirements import found
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until
from tests.support.workers import Fleet
from tests.system.conftest import FleetFactory

TTL = 4.0

Enlist = Callable[..., Curator]

pytestmark = pytest.mark.parametrize("recipe", ["curator-latch", "curator-selector"])


@pytest.fixture(scope="session")
def curator() -> Server:
    """Curator's classes, and ours that use them."""
    return found("curator")


@pytest.fixture
def fleet(make_fleet: FleetFactory, shared_zookeeper: ZooKeeper, recipe: str) -> Fleet:
    """Our candidates, with the same recipe."""
    return make_fleet(f"{shared_zookeeper.url}&recipe={recipe}", ttl=TTL)


@pytest.fixture
def enlist(
    curator: Server, shared_zookeeper: ZooKeeper, fleet: Fleet, recipe: str
) -> Iterator[Enlist]:
    """Start candidates of Curator in the election of the fleet, and wait until they campaign."""
    started: list[Curator] = []

    def start() -> Curator:
        number = len(started) + 1
        path = f"/{fleet.key}"
        started.append(Curator(curator, shared_zookeeper, fleet.folder, path, recipe, number))
        started[-1].await_campaign()
        return started[-1]

    yield start
    for one in started:
        one.process.kill()


def test_leadership_passes_between_both_in_order(
    fleet: Fleet, enlist: Enlist, shared_zookeeper: ZooKeeper
) -> None:
    """Each of two Curators and two of ours resigns and stands again; followers see each leader.

    The next one resigns only when the last one has its new place, so the order is always the same.
    """

    def await_queue(length: int) -> None:
        wait_until(
            lambda: len(_queue(shared_zookeeper, f"/{fleet.key}/")) == length, 5, f"{length} places"
        )

    (ann,) = fleet.start_all("ann")
    leader = fleet.await_leader(10)
    one = enlist()
    await_queue(2)
    one.await_leader("ann")
    assert not one.leads()
    (ben,) = fleet.start_all("ben")
    await_queue(3)
    two = enlist()
    await_queue(4)

    with open_store(fleet.url) as store:
        ann.signal(signal.SIGUSR1)
        one.await_belief(5)
        seen = store.leader(fleet.key)
        assert seen is not None
        assert str(seen) == one.name
        assert seen.token == one.recording.intervals[-1].token > leader.token
        two.await_leader(one.name)
        await_queue(4)
        with Follower(store, fleet.key) as follower:
            wait_until(lambda: str(follower.leader) == one.name, 5)
            one.resign()
            second = fleet.await_leader(5, after=leader)
            assert second.worker is ben
            wait_until(lambda: str(follower.leader) == "ben", 5)
            one.await_leader("ben")
            await_queue(4)
            ben.signal(signal.SIGUSR1)
            two.await_belief(5)
            wait_until(lambda: str(follower.leader) == two.name, 5)
            await_queue(4)
    two.resign()
    third = fleet.await_leader(5, after=second)
    assert third.worker is ann
    await_queue(4)
    ann.stop()
    one.await_belief(5)
    one.stop()
    assert fleet.await_leader(5, after=third).worker is ben
    ben.stop()
    two.await_belief(5)
    two.stop()
    _finish(fleet, one, two)


def test_crash_of_either_elects_the_other(fleet: Fleet, enlist: Enlist) -> None:
    """After SIGKILL the next one leads once the session has expired."""
    (ann,) = fleet.start_all("ann")
    leader = fleet.await_leader(10)
    one = enlist()

    ann.signal(signal.SIGKILL)
    one.await_belief(TTL + 5)
    fleet.start_all("ben")
    assert fleet.leader() is None

    one.crash()
    assert fleet.await_leader(Curator.SESSION / 1000 + 5, after=leader).token > leader.token
    _finish(fleet, one)


def test_expired_session_of_either_elects_the_other(
    fleet: Fleet, enlist: Enlist, shared_zookeeper: ZooKeeper
) -> None:
    """The one that has lost its session stands again, behind the other one."""
    one = enlist()
    one.await_belief(5)
    theirs = one.session()
    fleet.start_all("ann")
    path = f"/{fleet.key}/"
    wait_until(lambda: len(_queue(shared_zookeeper, path)) == 2, 5)
    owners = shared_zookeeper.ephemerals()
    (ours,) = {owners[node] for node in _queue(shared_zookeeper, path)} - {theirs}
    with open_store(fleet.url) as store:
        folder = store.get(fleet.key)  # a container with empty data, as Curator creates it
        assert folder is None or folder.session is None

    shared_zookeeper.expire(theirs)
    leader = fleet.await_leader(5)
    wait_until(lambda: not one.leads(), 5)
    wait_until(lambda: len(_queue(shared_zookeeper, path)) == 2, 10)

    shared_zookeeper.expire(ours)
    one.await_belief(5)
    wait_until(lambda: fleet.leader() is None, 5)
    wait_until(lambda: len(_queue(shared_zookeeper, path)) == 2, 10)
    one.crash()
    fleet.await_leader(Curator.SESSION / 1000 + 5, after=leader)
    # Nothing is said of overlaps: ZooKeeper may notify the other client of an expiry by force first.
    fleet.stop()


def test_place_in_the_queue_is_left_by_either(
    fleet: Fleet, enlist: Enlist, shared_zookeeper: ZooKeeper
) -> None:
    """Waiting candidates that stop leave no node, and the next in the queue still leads."""
    (ann,) = fleet.start_all("ann")
    leader = fleet.await_leader(10)
    one = enlist()
    (ben,) = fleet.start_all("ben")
    two = enlist()
    path = f"/{fleet.key}/"
    wait_until(lambda: len(_queue(shared_zookeeper, path)) == 4, 5)

    one.stop()
    ben.stop()
    wait_until(lambda: len(_queue(shared_zookeeper, path)) == 2, 5)
    assert fleet.await_leader(1).token == leader.token
    ann.stop()
    two.await_belief(5)
    two.stop()
    assert _queue(shared_zookeeper, path) == []
    _finish(fleet, one, two)


def _queue(zookeeper: ZooKeeper, folder: str) -> list[str]:
    return [path for path in zookeeper.ephemerals() if path.startswith(folder)]


def _finish(fleet: Fleet, *theirs: Curator) -> None:
    """End all processes, and check what all of them have recorded."""
    for one in theirs:
        one.stop()
    fleet.stop()
    recordings = [
        *(worker.recording for worker in fleet.workers),
        *(one.recording for one in theirs),
    ]
    assert_sound(recordings)
