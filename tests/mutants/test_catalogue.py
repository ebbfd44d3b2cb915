"""The catalogue of mutants, its table, and the tests that it names."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from leadership_core import Capability
from leadership_core.testing import contract_cases
from tests.mutants import table
from tests.mutants.catalogue import CATALOGUE
from tests.mutants.mutant import Mutant
from tests.mutants.verdicts import ROOT, Failure, Outcome

_CASES = {case.name for case in contract_cases(Capability)}


@cache
def names_in(file: Path) -> set[str]:
    """The functions and classes of a file."""
    tree = ast.parse(file.read_text(), str(file))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_there_are_many_and_each_is_another() -> None:
    """By name and by story; each has happened somewhere."""
    assert len(CATALOGUE) >= 40
    assert len({mutant.name for mutant in CATALOGUE}) == len(CATALOGUE)
    for mutant in CATALOGUE:
        assert mutant.story.endswith("."), mutant
        assert mutant.seen, mutant
        assert mutant.patches, mutant
        assert mutant.killers, mutant


@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_its_killers_exist(mutant: Mutant) -> None:
    """Under those names; what is in a class of the contract is a case of it."""
    for killer in mutant.killers:
        file, *names = killer.partition("[")[0].split("::")
        found = names_in(ROOT / file)
        assert names[0] in found, killer
        assert names[-1] in found | _CASES, killer


@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_it_is_taken_out_again(mutant: Mutant) -> None:
    """Afterwards the product is as it was; while it is planted, it is not."""
    before = [vars(place).get(name) for place, name, _ in mutant.patches]

    with mutant.planted():
        inside = [vars(place).get(name) for place, name, _ in mutant.patches]

    assert all(one is not other for one, other in zip(before, inside, strict=True))
    assert [vars(place).get(name) for place, name, _ in mutant.patches] == before


def test_only_an_assertion_of_a_test_that_ran_is_a_kill() -> None:
    """Not what breaks a test down, nor what keeps it from beginning, nor a pass."""

    def failure(when: str = "call", *, asserted: bool = True) -> Failure:
        return Failure(when, "Error", "what it says", asserted)

    assert Outcome(1.0, [failure()]).found_it
    assert Outcome(1.0, [failure(), failure("teardown")]).found_it
    assert not Outcome(1.0, []).found_it
    assert not Outcome(1.0, [failure("setup")]).found_it
    assert not Outcome(1.0, [failure(asserted=False)]).found_it
    assert not Outcome(1.0, [failure(), failure("teardown", asserted=False)]).found_it


def test_the_table_is_up_to_date() -> None:
    """`python -m tests.mutants --table` writes it."""
    assert table.is_up_to_date(), "run: python -m tests.mutants --table"
