"""Why there is a fencing token: a leader that is paused between its look and its write.

By belief alone updates are lost, which no election can prevent. With fenced writes none is.
`python -m tests.updates` runs any of the long ones by hand.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios.fleet import await_true
from tests.scenarios.places import Place
from tests.servers.releases import others
from tests.updates.checker import judge, problems
from tests.updates.counters import GUARDS
from tests.updates.crew import Crew, Link
from tests.updates.nemesis import Strike
from tests.updates.run import run
from tests.updates.stores import STORES

pytestmark = pytest.mark.slow

CrewWith = Callable[[str], Crew]

on_each = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.soak if kind in others() else ()) for kind in STORES],
)
RUNS = max(1, int(os.environ.get("SEEDS", "10000")) // 5000)  # one lasts half a minute


@on_each
def test_a_pause_between_look_and_write(crew_with: CrewWith, place: Place) -> None:
    """By belief alone at least one update is lost; with a fence the store refuses the write."""
    crews = {guard: crew_with(guard) for guard in GUARDS}
    for crew in crews.values():
        crew.start()
        crew.start()
    for crew in crews.values():
        crew.await_done(3, 20, after=0)

    # Both at once, because the time is spent with waiting for leases to end.
    strikes = {guard: _strike(crew) for guard, crew in crews.items()}
    for strike in strikes.values():
        strike.await_another(1, place.times.pause + 5)
        strike.await_another(5, 15)
    outcomes = {guard: strike.let_go() for guard, strike in strikes.items()}
    for guard, crew in crews.items():
        crew.await_done(10, 15, after=strikes[guard].token)
    for crew in crews.values():
        crew.stop()

    assert outcomes == {"belief": "done", "fence": "refused"}
    believed, fenced = crews["belief"].attempts(), crews["fence"].attempts()
    assert judge(believed, crews["belief"].final()).lost > 0
    assert problems(believed, crews["belief"].final())
    assert problems(fenced, crews["fence"].final()) == []
    verdict = judge(fenced, crews["fence"].final())
    assert verdict.acknowledged <= verdict.final <= verdict.acknowledged + verdict.unknown
    assert verdict.stale >= 1


def test_a_file_that_is_locked(tmp_path: Path) -> None:
    """A strike that stops a transaction is noticed: it would be one against all, and is made again."""
    file = tmp_path / "elections.db"
    crew = Crew(tmp_path, f"sqlite:///{file}", "key", "fence", 1.5)
    assert not crew.is_blocked()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        assert crew.is_blocked()
    assert not crew.is_blocked()


def _strike(crew: Crew) -> Strike:
    await_true("somebody leads", crew.leader, 10)
    leader = crew.leader()
    assert leader is not None
    return Strike(crew, leader)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(RUNS))
@on_each
def test_faults_at_random_with_fenced_writes(
    kind: str, seed: int, place: Place, links: list[Link | None], tmp_path: Path
) -> None:
    """Whoever is stopped, killed or cut off: every acknowledged increment is in the counter."""
    outcome = run(place, "fence", seed, 30, tmp_path, links)

    print(f"{kind}, seed {seed}: {outcome}")
    verdict = outcome.verdict
    assert outcome.problems == []
    assert verdict.acknowledged <= verdict.final <= verdict.acknowledged + verdict.unknown
    assert verdict.stale > 0, "it proves nothing if nobody came late"


@pytest.mark.soak
@pytest.mark.timeout(300)
@on_each
def test_faults_at_random_by_belief_alone(kind: str, place: Place, tmp_path: Path) -> None:
    """Updates are lost, with all that an election can do."""
    outcome = run(place, "belief", 1, 30, tmp_path)

    print(f"{kind}: {outcome}")
    assert outcome.verdict.lost > 0
