"""Lost updates with and without a fence: a leader is paused between its check and its write.

Unfenced updates are lost, which no election can prevent. Fenced ones are not.
`python -m tests.system.updates` runs any of the long ones by hand.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backends import TargetStore
from tests.support.servers.releases import others
from tests.support.waiting import wait_until
from tests.system.counters import GUARDS
from tests.system.increments import IncrementFleet, Link, PausedWrite
from tests.system.lost_updates import summarize, violations
from tests.system.updates import STORES, run

pytestmark = pytest.mark.slow

CrewWith = Callable[[str], IncrementFleet]

on_each = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.soak if kind in {*others(), "kubernetes"} else ())
        for kind in STORES
    ],
)
RUNS = max(1, int(os.environ.get("SEEDS", "10000")) // 5000)  # one lasts half a minute


@on_each
def test_pause_between_check_and_write_needs_fence(
    fleet_with: CrewWith, target: TargetStore
) -> None:
    """Unfenced, at least one update is lost; with a fence the store refuses the write."""
    fleets = {guard: fleet_with(guard) for guard in GUARDS}
    for fleet in fleets.values():
        fleet.start()
        fleet.start()
    for fleet in fleets.values():
        fleet.await_done(3, 20, after=0)

    # Both at once, because the time is spent with waiting for leases to end.
    strikes = {guard: _strike(fleet) for guard, fleet in fleets.items()}
    for strike in strikes.values():
        strike.await_another(1, target.times.pause + 5)
        strike.await_another(5, 15)
    outcomes = {guard: strike.let_go() for guard, strike in strikes.items()}
    for guard, fleet in fleets.items():
        fleet.await_done(10, 15, after=strikes[guard].token)
    for fleet in fleets.values():
        fleet.stop()

    assert outcomes == {"unfenced": "done", "fence": "refused"}
    unfenced, fenced = fleets["unfenced"].attempts(), fleets["fence"].attempts()
    assert summarize(unfenced, fleets["unfenced"].final()).lost > 0
    assert violations(unfenced, fleets["unfenced"].final())
    assert violations(fenced, fleets["fence"].final()) == []
    summary = summarize(fenced, fleets["fence"].final())
    assert summary.acknowledged <= summary.final <= summary.acknowledged + summary.unknown
    assert summary.stale >= 1


def test_locked_database_file_is_noticed(tmp_path: Path) -> None:
    """A process stopped inside a transaction would stop all others, so another moment is chosen."""
    file = tmp_path / "elections.db"
    fleet = IncrementFleet(tmp_path, f"sqlite:///{file}", "key", "fence", 1.5)
    assert not fleet.is_blocked()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        assert fleet.is_blocked()
    assert not fleet.is_blocked()


def _strike(fleet: IncrementFleet) -> PausedWrite:
    wait_until(fleet.leader, 10, "there is a leader")
    leader = fleet.leader()
    assert leader is not None
    return PausedWrite(fleet, leader)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(RUNS))
@on_each
def test_random_faults_lose_no_fenced_update(
    kind: str, seed: int, target: TargetStore, links: list[Link | None], tmp_path: Path
) -> None:
    """Processes are stopped, killed and cut off: every acknowledged increment is in the counter."""
    outcome = run(target, "fence", seed, 30, tmp_path, links)

    print(f"{kind}, seed {seed}: {outcome}")
    summary = outcome.summary
    assert outcome.problems == []
    assert summary.acknowledged <= summary.final <= summary.acknowledged + summary.unknown
    assert summary.stale > 0, "without a stale write it proves nothing"


@pytest.mark.soak
@pytest.mark.timeout(300)
@on_each
def test_random_faults_lose_unfenced_updates(
    kind: str, target: TargetStore, tmp_path: Path
) -> None:
    """An election alone cannot prevent lost updates."""
    outcome = run(target, "unfenced", 1, 30, tmp_path)

    print(f"{kind}: {outcome}")
    assert outcome.summary.lost > 0
