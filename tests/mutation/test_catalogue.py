"""The catalogue of mutants, its table, and the tests that it names."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from leadership_core import Capability
from leadership_core.testing import contract_cases
from tests.mutation import table
from tests.mutation.catalogue import CATALOGUE
from tests.mutation.mutant import Mutant
from tests.mutation.verdicts import ROOT, Failure, Outcome

_CASES = {case.name for case in contract_cases(Capability)}


@cache
def names_in(file: Path) -> set[str]:
    """The names of the functions and classes of a file."""
    tree = ast.parse(file.read_text(), str(file))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_mutants_are_complete_and_unique() -> None:
    """Each mutant has a unique name, an effect, an origin, patches and killers."""
    assert len(CATALOGUE) >= 40
    assert len({mutant.name for mutant in CATALOGUE}) == len(CATALOGUE)
    for mutant in CATALOGUE:
        assert mutant.effect.endswith("."), mutant
        assert mutant.seen, mutant
        assert mutant.patches, mutant
        assert mutant.killers, mutant


@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_killers_exist(mutant: Mutant) -> None:
    """The killers are functions of their files, or cases of the contract."""
    for killer in mutant.killers:
        file, *names = killer.partition("[")[0].split("::")
        found = names_in(ROOT / file)
        assert names[0] in found, killer
        assert names[-1] in found | _CASES, killer


@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_mutant_is_removed_after_use(mutant: Mutant) -> None:
    """A planted mutant changes the product, which is restored afterwards."""
    before = [vars(place).get(name) for place, name, _ in mutant.patches]

    with mutant.planted():
        inside = [vars(place).get(name) for place, name, _ in mutant.patches]

    assert all(one is not other for one, other in zip(before, inside, strict=True))
    assert [vars(place).get(name) for place, name, _ in mutant.patches] == before


def test_kill_requires_failed_assertion() -> None:
    """Errors, failures in setup, and passed tests are no kills."""

    def failure(when: str = "call", *, asserted: bool = True) -> Failure:
        return Failure(when, "Error", "message", asserted)

    assert Outcome(1.0, [failure()]).found_it
    assert Outcome(1.0, [failure(), failure("teardown")]).found_it
    assert not Outcome(1.0, []).found_it
    assert not Outcome(1.0, [failure("setup")]).found_it
    assert not Outcome(1.0, [failure(asserted=False)]).found_it
    assert not Outcome(1.0, [failure(), failure("teardown", asserted=False)]).found_it


def test_table_is_up_to_date() -> None:
    """`python -m tests.mutation --table` writes it."""
    assert table.is_up_to_date(), "run: python -m tests.mutation --table"
