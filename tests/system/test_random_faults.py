"""Random faults of all kinds at the same time: never two leaders, and a leader afterwards.

The seed is in the name of the test; the same seed does the same things in the same order.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import ProxyFactory
from tests.support.backends import Running, on_servers
from tests.support.recording import now
from tests.support.servers.proxy import Proxy
from tests.support.waiting import wait_until
from tests.support.workers import Fleet, Worker
from tests.system.conftest import FleetFactory, OwnServer, TargetStore

pytestmark = pytest.mark.slow


class Slot:
    """A place in the fleet: consecutive processes with the same link to the store."""

    def __init__(self, fleet: Fleet, who: str, url: str, link: Proxy | None) -> None:
        self.fleet, self.who, self.url, self.link = fleet, who, url, link
        self.worker: Worker = fleet.start(who, url=url)
        self.well_at = 0.0  # when its present trouble ends
        self._mend: Callable[[], object] | None = None

    def hurt(self, rng: random.Random, seconds: float) -> None:
        """Inject a fault that `heal` ends."""
        self.well_at = time.monotonic() + seconds
        if self.link is not None and rng.random() < 0.5:
            self._hurt_link(self.link, rng)
            return
        if not self.worker.recording.names():
            return  # still starting: signals would do what they do to any process
        match rng.choice([signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1]):
            case signal.SIGSTOP:
                self.worker.signal(signal.SIGSTOP)
                self._mend = lambda: self.worker.signal(signal.SIGCONT)
            case signal.SIGKILL:
                self.worker.process.kill()
                self._mend = self._start
            case signal.SIGTERM:
                self.worker.stop()
                self._mend = self._start
            case _:
                self.worker.signal(signal.SIGUSR1)

    def _hurt_link(self, link: Proxy, rng: random.Random) -> None:
        match rng.choice(["both", "up", "down", "reset", "refuse"]):
            case "both":
                link.cut()
                self._mend = link.heal
            case "up" | "down" as way:
                link.cut(way)
                self._mend = link.heal
            case "refuse":
                link.refuse()
                self._mend = link.listen
            case _:
                link.reset()

    def heal(self) -> None:
        """End its fault, if it has one."""
        mend, self._mend = self._mend, None
        if mend is not None:
            mend()

    def _start(self) -> None:
        if self.worker.process.alive:  # asked to stop, and still running
            self.worker.process.kill()
            self.worker.ending = False
        self.worker = self.fleet.start(self.who, url=self.url)


def _torment(
    fleet: Fleet, seats: list[Slot], server: Running | None, seed: int, seconds: float
) -> None:
    rng = random.Random(seed)
    for seat in seats:
        seat.worker.await_event("campaigning", 15)
    until = time.monotonic() + seconds
    mend_server: Callable[[], object] | None = None
    server_well_at = time.monotonic() + 2 * fleet.ttl  # and then its first trouble
    while time.monotonic() < until:
        for seat in seats:
            if time.monotonic() > seat.well_at:
                seat.heal()
                # The leader is hurt more often than the others.
                leads = seat.worker.process.alive and seat.worker.interval() is not None
                if rng.random() < (0.3 if leads else 0.1):
                    seat.hurt(
                        rng, rng.choice([0.1, 0.5, 1.0, 2.5]) * fleet.ttl * rng.uniform(0.5, 1)
                    )
        if server is not None and time.monotonic() > server_well_at:
            if mend_server is not None:
                mend_server()
                mend_server = None
                server_well_at = time.monotonic() + rng.uniform(2, 4) * fleet.ttl
            else:
                mend_server = _hurt_server(server, rng)
                server_well_at = time.monotonic() + rng.uniform(0.1, 1.5) * fleet.ttl
        time.sleep(rng.uniform(0.02, 0.2))

    if mend_server is not None:
        mend_server()
    for seat in seats:
        seat.heal()
    if server is not None:
        server.wait_ready()
    ended = now()
    wait_until(fleet.leader, 2 * fleet.ttl + 5, "a leader is back")
    leader = fleet.leader()
    assert leader is not None
    print(f"a leader after {(leader.since - ended) / 1e9:.2f} s; {_count(fleet)}")
    fleet.finish()


def _hurt_server(server: Running, rng: random.Random) -> Callable[[], object]:
    match rng.choice(["pause", "kill", "stop"]):
        case "pause":
            server.pause()
            return server.resume
        case "kill":
            server.kill()
        case _:
            server.stop()
    return lambda: server.start(wait=False)


def _count(fleet: Fleet) -> str:
    terms = sum(len(worker.recording.read().intervals) for worker in fleet.workers)
    return f"{len(fleet.workers)} processes, {terms} terms"


def _on_server(
    make_fleet: FleetFactory, server: Running, proxy: ProxyFactory, seed: int, seconds: float
) -> None:
    fleet = make_fleet(server.url, ttl=2.0)
    links = [proxy(server.port) for _ in range(4)]
    seats = [Slot(fleet, f"w{n}", server.url_at(link.port), link) for n, link in enumerate(links)]
    _torment(fleet, seats, server, seed, seconds)


def _on_sqlite(make_fleet: FleetFactory, target: TargetStore, seed: int, seconds: float) -> None:
    fleet = make_fleet(target, ttl=1.0)
    seats = [Slot(fleet, f"w{n}", target.url, None) for n in range(4)]
    _torment(fleet, seats, None, seed, seconds)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "seed"), [("consul", 3), ("etcd", 5), ("zookeeper", 6)])
def test_random_faults(
    kind: str, seed: int, make_fleet: FleetFactory, own_server: OwnServer, proxy: ProxyFactory
) -> None:
    """Processes, links and the server fail for 9 s."""
    _on_server(make_fleet, own_server(), proxy, seed, seconds=9)


def test_random_faults_on_sqlite(make_fleet: FleetFactory, on_sqlite: TargetStore) -> None:
    """Processes fail for 6 s."""
    _on_sqlite(make_fleet, on_sqlite, seed=4, seconds=6)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 14))
@on_servers
def test_random_faults_for_long(
    kind: str, seed: int, make_fleet: FleetFactory, own_server: OwnServer, proxy: ProxyFactory
) -> None:
    """Processes, links and the server fail for four minutes."""
    _on_server(make_fleet, own_server(), proxy, seed, seconds=240)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20, 22))
def test_random_faults_on_sqlite_for_long(
    seed: int, make_fleet: FleetFactory, on_sqlite: TargetStore
) -> None:
    """Processes fail for two minutes."""
    _on_sqlite(make_fleet, on_sqlite, seed, seconds=120)
