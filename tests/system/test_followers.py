"""Followers under faults: they report no leader or the leader, never one whose claim has ended."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from leadership_core import Follower, Leader, open_store
from tests.support.admin_tools import AdminTools, admin_of
from tests.support.backends import on_servers
from tests.support.recording import now
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import at_most, wait_until
from tests.system.conftest import FleetFactory, OwnServer, Report, TargetStore

pytestmark = pytest.mark.slow

_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy


class Watching:
    """A follower, its reports with their times, and its events."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.lines: list[tuple[int, Leader | None]] = []
        self.events: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, name="test-lines"),
            threading.Thread(target=self._read_events, name="test-events"),
        ]
        for thread in self._threads:
            thread.start()

    def leaders(self) -> list[tuple[str, int] | None]:
        """The value and token of each report."""
        return [(leader.value, leader.token) if leader else None for _, leader in self.lines]

    def await_line(self, line: tuple[str, int] | None, seconds: float) -> int:
        """Wait until the last report is that one; returns its time."""
        try:
            wait_until(
                lambda: self.lines and self.leaders()[-1] == line, seconds, f"it says {line}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.leaders()}") from None
        return self.lines[-1][0]

    def join(self) -> None:
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _read(self) -> None:
        for leader in self.follower.follow_election():
            self.lines.append((now(), leader))

    def _read_events(self) -> None:
        self.events.extend(event.name for event in self.follower.events())


@contextmanager
def watching(url: str, key: str) -> Iterator[Watching]:
    """Follow an election; at the end both iterators must end."""
    with open_store(url) as store:
        watcher = Watching(Follower(store, key))
        yield watcher
    watcher.join()


def test_follower_reports_leaders_on_sqlite(
    make_fleet: FleetFactory, on_sqlite: TargetStore, measured: Report
) -> None:
    """No leader first, then each new one, also with the same value; never a dead one."""
    _follow(make_fleet, on_sqlite, measured)


@on_servers
def test_follower(
    make_fleet: FleetFactory,
    target: TargetStore,
    shared: Consul | Etcd | ZooKeeper,
    measured: Report,
) -> None:
    """No leader first, then each new one, also with the same value; never a dead one."""
    _follow(make_fleet, target, measured, admin_of(shared))


def _follow(
    make_fleet: FleetFactory, target: TargetStore, measured: Report, admin: AdminTools | None = None
) -> None:
    fleet = make_fleet(target)
    with watching(target.url, fleet.key) as watcher:
        watcher.await_line(None, 5)
        assert watcher.leaders() == [None]

        (ann,) = fleet.start_all("ann")
        leader = fleet.await_leader(10)
        said = watcher.await_line(("ann", leader.token), 5)
        measured("from elected to the line", (said - leader.since) / 1e9)

        ann.signal(signal.SIGUSR1)
        again = fleet.await_leader(10, after=leader)
        watcher.await_line(("ann", again.token), 5)

        ann.signal(signal.SIGKILL)
        assert admin is None or _ends_with_its_claim(watcher, admin, fleet.key, measured)
        said = watcher.await_line(None, 2 * target.ttl + 2)

        fleet.start_all("ben")
        last = fleet.await_leader(10)
        watcher.await_line(("ben", last.token), 5)
        fleet.finish()
        watcher.await_line(None, 5)

    leaders = watcher.leaders()
    assert leaders[0] is None
    dead = leaders.index(("ann", again.token))
    assert ("ann", again.token) not in leaders[dead + 1 :]
    assert all(one != other for one, other in itertools.pairwise(leaders))


def _ends_with_its_claim(watcher: Watching, admin: AdminTools, key: str, measured: Report) -> bool:
    """Wait until the server ends the claim; the follower must report it within one notification."""
    wait_until(lambda: admin.holder(key) is None, 10, "the server ends the claim")
    ended = now()
    said = watcher.await_line(None, 5)
    measured("from the end of a dead leader's claim to the line", (said - ended) / 1e9)
    return (said - ended) / 1e9 < at_most(_NOTIFICATION)


@on_servers
def test_follower_reports_leaders_through_server_restart(
    make_fleet: FleetFactory, kind: str, own_server: OwnServer
) -> None:
    """During an outage the last leader stays, with its age; then reports go on."""
    agent = own_server()
    fleet = make_fleet(agent.url, ttl=2.0)
    with watching(agent.url, fleet.key) as watcher:
        fleet.start_all("ann", "ben")
        first = fleet.await_leader(10)
        watcher.await_line((first.worker.who[2:], first.token), 5)

        agent.kill()
        wait_until(lambda: "store_down" in watcher.events, 10, "store_down")
        time.sleep(3.0)
        leader = watcher.follower.leader
        assert leader is not None
        assert leader.token == first.token
        assert leader.age > 2.5
        agent.start()

        wait_until(lambda: "store_up" in watcher.events, 10, "store_up")
        second = fleet.await_leader(15, after=first)  # leadership had ended during the outage
        watcher.await_line((second.worker.who[2:], second.token), 5)
        assert watcher.follower.leader is not None
        assert watcher.follower.leader.age < 20  # confirmed again now and then
        fleet.finish()
    downs = [name for name in watcher.events if name.startswith("store")]
    assert downs == ["store_down", "store_up"] * (len(downs) // 2)
    assert watcher.events[-1] == "stopped"
