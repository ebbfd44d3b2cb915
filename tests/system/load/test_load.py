"""Many processes on one store, and many hand-overs; in full size in `make soak`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.load.crowds import OUTAGES, Crowd, CrowdOutcome, reconnect, rolling_restart
from tests.system.load.page import keep
from tests.system.load.soak import Soak, SoakOutcome, run_soak
from tests.system.load.stores import LOADED

SECONDS = float(os.environ.get("SOAK_SECONDS", "7200"))
"""How long `make soak` hands over."""

_SERVERS = tuple(kind for kind in LOADED if kind != "sqlite")

_A_SECOND = 5  # requests of one candidate, at most


def _quick_on(quick: str, kinds: tuple[str, ...]) -> pytest.MarkDecorator:
    others = [pytest.param(kind, marks=pytest.mark.soak) for kind in kinds if kind != quick]
    return pytest.mark.parametrize("kind", [quick, *others])


def _assert_sound(outcome: CrowdOutcome | SoakOutcome, place: Path | None = None) -> None:
    keep(outcome, place) if place else keep(outcome)
    assert not outcome.faults, "\n".join(outcome.faults[:20])


def _assert_bounded(outcome: CrowdOutcome) -> None:
    """No second after the outage has more requests than all candidates may make in one."""
    crowd = outcome.crowd
    most = outcome.most_requests(outcome.steps[0].until)
    allowed = outcome.usual_requests() + _A_SECOND * crowd.processes * crowd.candidates
    assert most <= allowed, f"{most} requests in a second"


@pytest.mark.slow
@_quick_on("sqlite", LOADED)
def test_elections_keep_leaders_while_processes_are_replaced_slice(
    kind: str, tmp_path: Path
) -> None:
    """Twenty elections keep a leader while three processes are stopped, killed and started."""
    crowd = Crowd(kind, processes=3, elections=20, candidates=20, on_one_store=20, ttl=4.0)
    outcome = rolling_restart(crowd)
    _assert_sound(outcome, tmp_path)
    assert len(outcome.steps) == 3


@pytest.mark.slow
@_quick_on("etcd", _SERVERS)
def test_candidates_reconnect_with_few_requests_slice(kind: str, tmp_path: Path) -> None:
    """Ten elections have leaders again after an outage, and the requests in a second are bounded."""
    crowd = Crowd(kind, processes=2, elections=10, candidates=10, on_one_store=5, ttl=4.0, nodes=1)
    outcome = reconnect(crowd)
    _assert_sound(outcome, tmp_path)
    _assert_bounded(outcome)


@pytest.mark.slow
def test_handovers_leave_nothing_behind_slice(tmp_path: Path) -> None:
    """Some seconds of hand-overs are made as in the long run, with its samples and its page."""
    outcome = run_soak(Soak("sqlite", seconds=6.0, elections=10, ttl=3.0))
    _assert_sound(outcome, tmp_path)
    assert outcome.handovers > 0
    assert all(outcome.series(who, "memory") for who in outcome.workers)
    assert "hand-overs per second" in (tmp_path / "index.html").read_text()


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", LOADED)
def test_rolling_restart_of_ten_processes_with_a_hundred_elections(kind: str) -> None:
    """Each election has its leader again in time after each of ten processes was replaced."""
    _assert_sound(rolling_restart(Crowd(kind)))


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("kind", _SERVERS)
def test_five_hundred_candidates_reconnect_at_once(kind: str, outage: str) -> None:
    """Each election has its leader again in time after an outage, and requests stay bounded."""
    outcome = reconnect(Crowd(kind, candidates=50, on_one_store=10), outage)
    _assert_sound(outcome)
    _assert_bounded(outcome)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 900)
def test_two_hours_of_handovers_leave_nothing_behind() -> None:
    """Fifty elections hand over every second on all stores at once; nothing of it accumulates."""
    with ThreadPoolExecutor(len(LOADED)) as pool:
        outcomes = list(pool.map(lambda kind: run_soak(Soak(kind, SECONDS), print), LOADED))
    for outcome in outcomes:
        keep(outcome)
    for outcome in outcomes:
        _assert_sound(outcome)
        for who in outcome.workers:
            grown = {what: outcome.grown(who, what) for what in ("threads", "descriptors")}
            assert max(grown.values()) <= 3, f"{outcome.soak.kind}, {who}: {grown}"
            mib = outcome.grown(who, "memory") / 2**20
            assert mib <= 4.0, f"{outcome.soak.kind}, {who}: {mib:.1f} MiB more"
