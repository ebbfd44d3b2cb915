"""All faults at random, at the same time: never two believers, and a leader when they end.

The seed is in the name of the test; the same seed does the same things in the same order.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import ConsulFactory, ProxyFactory
from tests.scenarios.conftest import FleetFactory, Place
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet, Worker, await_true
from tests.servers.consul import ConsulAgent
from tests.servers.proxy import Proxy


class Seat:
    """A place in the fleet: one process after the other, each with the same way to the store."""

    def __init__(self, fleet: Fleet, who: str, url: str, link: Proxy | None) -> None:
        self.fleet, self.who, self.url, self.link = fleet, who, url, link
        self.worker: Worker = fleet.start(who, url=url)
        self.well_at = 0.0  # when its present trouble ends
        self._mend: Callable[[], object] | None = None

    def hurt(self, rng: random.Random, seconds: float) -> None:
        """Do something to it that `heal` undoes."""
        self.well_at = time.monotonic() + seconds
        if self.link is not None and rng.random() < 0.5:
            self._hurt_link(self.link, rng)
            return
        if not self.worker.diary.names():
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
        """End its trouble, if it has one."""
        mend, self._mend = self._mend, None
        if mend is not None:
            mend()

    def _start(self) -> None:
        if self.worker.process.alive:  # told to stop, and still at it
            self.worker.process.kill()
            self.worker.ending = False
        self.worker = self.fleet.start(self.who, url=self.url)


def _torment(
    fleet: Fleet, seats: list[Seat], agent: ConsulAgent | None, seed: int, seconds: float
) -> None:
    rng = random.Random(seed)
    for seat in seats:
        seat.worker.await_event("campaigning", 15)
    until = time.monotonic() + seconds
    mend_agent: Callable[[], object] | None = None
    agent_well_at = time.monotonic() + 2 * fleet.ttl  # and then its first trouble
    while time.monotonic() < until:
        for seat in seats:
            if time.monotonic() > seat.well_at:
                seat.heal()
                # The leader is hurt more often than the others.
                leads = seat.worker.process.alive and seat.worker.belief() is not None
                if rng.random() < (0.3 if leads else 0.1):
                    seat.hurt(
                        rng, rng.choice([0.1, 0.5, 1.0, 2.5]) * fleet.ttl * rng.uniform(0.5, 1)
                    )
        if agent is not None and time.monotonic() > agent_well_at:
            if mend_agent is not None:
                mend_agent()
                mend_agent = None
                agent_well_at = time.monotonic() + rng.uniform(2, 4) * fleet.ttl
            else:
                mend_agent = _hurt_agent(agent, rng)
                agent_well_at = time.monotonic() + rng.uniform(0.1, 1.5) * fleet.ttl
        time.sleep(rng.uniform(0.02, 0.2))

    if mend_agent is not None:
        mend_agent()
    for seat in seats:
        seat.heal()
    if agent is not None:
        agent.wait_ready()
    ended = now()
    await_true("a leader is back", fleet.reign, 2 * fleet.ttl + 5)
    reign = fleet.reign()
    assert reign is not None
    print(f"a leader after {(reign.since - ended) / 1e9:.2f} s; {_count(fleet)}")
    fleet.finish()


def _hurt_agent(agent: ConsulAgent, rng: random.Random) -> Callable[[], object]:
    match rng.choice(["pause", "kill", "stop"]):
        case "pause":
            agent.pause()
            return agent.resume
        case "kill":
            agent.kill()
        case _:
            agent.stop()
    return lambda: agent.start(wait=False)


def _count(fleet: Fleet) -> str:
    terms = sum(len(worker.diary.read().beliefs) for worker in fleet.workers)
    return f"{len(fleet.workers)} processes, {terms} terms"


def _on_consul(
    make_fleet: FleetFactory,
    consul_server: ConsulFactory,
    proxy: ProxyFactory,
    seed: int,
    seconds: float,
) -> None:
    agent = consul_server()
    fleet = make_fleet(agent.url, ttl=2.0)
    links = [proxy(agent.port) for _ in range(4)]
    seats = [Seat(fleet, f"w{n}", agent.url_at(link.port), link) for n, link in enumerate(links)]
    _torment(fleet, seats, agent, seed, seconds)


def _on_sqlite(make_fleet: FleetFactory, place: Place, seed: int, seconds: float) -> None:
    fleet = make_fleet(place, ttl=1.0)
    seats = [Seat(fleet, f"w{n}", place.url, None) for n in range(4)]
    _torment(fleet, seats, None, seed, seconds)


@pytest.mark.timeout(120)
def test_random_faults_on_consul(
    make_fleet: FleetFactory, consul_server: ConsulFactory, proxy: ProxyFactory
) -> None:
    """Processes, links and the agent fail for 15 s."""
    _on_consul(make_fleet, consul_server, proxy, seed=3, seconds=15)


def test_random_faults_on_sqlite(make_fleet: FleetFactory, on_sqlite: Place) -> None:
    """Processes fail for 6 s."""
    _on_sqlite(make_fleet, on_sqlite, seed=4, seconds=6)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 14))
def test_random_faults_on_consul_for_long(
    seed: int, make_fleet: FleetFactory, consul_server: ConsulFactory, proxy: ProxyFactory
) -> None:
    """Processes, links and the agent fail for four minutes."""
    _on_consul(make_fleet, consul_server, proxy, seed, seconds=240)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20, 22))
def test_random_faults_on_sqlite_for_long(
    seed: int, make_fleet: FleetFactory, on_sqlite: Place
) -> None:
    """Processes fail for two minutes."""
    _on_sqlite(make_fleet, on_sqlite, seed, seconds=120)
