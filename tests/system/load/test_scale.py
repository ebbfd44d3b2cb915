"""docs/scale.md: its tables are those of its files, and its formulas those of the simulation."""

from __future__ import annotations

from math import inf

import pytest

from tests.system.load.large_case import Case, formulas, simulate
from tests.system.load.scale import PAGE, filled


def test_page_has_the_tables_of_its_files() -> None:
    """`python -m tests.system.load write` would change nothing."""
    assert filled(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.slow
def test_simulation_agrees_with_the_formulas() -> None:
    """Fifty processes renew, start and come back as the formulas say."""
    case = Case(processes=50, until=110.0)
    outcome, formula = simulate(case), formulas(case)
    assert outcome.mean("renew", 20, 60) == pytest.approx(formula["renewals"], rel=0.2)
    assert sum(outcome.total(0, 3)) == formula["start"]
    assert outcome.most(90, 92) == pytest.approx(formula["reconnect"], rel=0.6)
    assert outcome.sessions == 2 * case.processes
    assert outcome.all_led <= 2


@pytest.mark.slow
@pytest.mark.parametrize(("share", "recovers"), [(2.0, True), (0.8, False)])
def test_servers_of_too_little_capacity_never_elect_all(share: float, recovers: bool) -> None:
    """Below the capacity of docs/scale.md, requests end their time limit in the queue."""
    processes = 40
    case = Case(processes=processes, capacity=share * processes, outage=(80.0, 110.0), until=80.0)
    outcome = simulate(case)
    assert (outcome.all_led < inf) == recovers
    assert (formulas(case)["queue"] < case.ttl / 3) == recovers
