"""A process is frozen for longer than its lease, and wakes up as somebody who led."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.scenarios.conftest import FleetFactory, Place
from tests.scenarios.fleet import Fleet, Worker, await_true
from tests.scenarios.places import TIMES, on_all

pytestmark = pytest.mark.slow


@on_all
def test_a_leader_that_was_frozen(make_fleet: FleetFactory, place: Place) -> None:
    """It never says that it leads after another was elected; it says lost, and campaigns."""
    _freeze_the_leader(make_fleet(place), place)


def _freeze_the_leader(fleet: Fleet, place: Place) -> None:
    # One that looks without a pause does so before any other thread of it has run.
    for who in ("ann", "ben"):
        fleet.start(who, pause=0.0).await_event("campaigning", 15)
    first = fleet.await_reign(10)
    campaigns = first.worker.count("campaigning")

    first.worker.signal(signal.SIGSTOP)
    second = fleet.await_reign(place.times.pause + 5, after=first)
    time.sleep(0.2)  # so that the second surely believes for a while before the first wakes
    first.worker.signal(signal.SIGCONT)

    assert first.worker.await_event("lost", 5).reason == "expired"
    first.worker.await_event("campaigning", 5, after=campaigns)
    second.worker.stop()
    third = fleet.await_reign(10, after=second)
    assert third.worker is first.worker
    fleet.finish()


@on_all
def test_random_freezes(make_fleet: FleetFactory, kind: str, place: Place) -> None:
    """Whatever moment processes are frozen at, there is one believer at most."""
    seed = list(TIMES).index(kind) + 1
    ttl = 1.5 if kind == "zookeeper" else 1.0  # its margin is half a tick and more
    _freeze_at_random(make_fleet(place, ttl=ttl), seconds=5, seed=seed)


def _freeze_at_random(fleet: Fleet, *, seconds: float, seed: int) -> None:
    rng = random.Random(seed)
    fleet.start_all("ann", "ben", "cat", pause=0.0002)
    fleet.await_reign(10)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        # All of them now and then, as when the machine is suspended; the leader more often.
        group = rng.choice([fleet.workers, rng.sample(fleet.workers, 1), _leaders(fleet)])
        for worker in group:
            worker.signal(signal.SIGSTOP)
        time.sleep(rng.choice([0.05, 0.5, 1.2, 2.2]) * rng.uniform(0.8, 1.2))
        for worker in rng.sample(group, len(group)):
            worker.signal(signal.SIGCONT)
            time.sleep(rng.choice([0.0, 0.0, 0.1]))
        time.sleep(rng.uniform(0.0, 0.6))
    last = fleet.reign()
    await_true("somebody leads in the end", fleet.reign, 2 * fleet.ttl + 5)
    assert last is None or fleet.await_reign(1).token >= last.token
    fleet.finish()


def _leaders(fleet: Fleet) -> list[Worker]:
    reign = fleet.reign()
    return [reign.worker] if reign else []
