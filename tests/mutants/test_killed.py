"""Each known mistake, put into the product, makes a test of the suite fail."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.mutants.catalogue import CATALOGUE, SOUND
from tests.mutants.mutant import Mutant
from tests.mutants.verdicts import Verdict, judge

pytestmark = pytest.mark.slow

_SERVERS = ("consul", "etcd", "zookeeper")


def place_of(mutant: Mutant) -> str:
    """The server that its quickest killer needs."""
    return next((one for one in _SERVERS if one in mutant.killers[0]), "no server")


def complaint(verdicts: list[Verdict]) -> str:
    return "\n".join(str(one) for one in verdicts if not one.killed)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "place", ["no server", *(pytest.param(one, marks=pytest.mark.server) for one in _SERVERS)]
)
def test_mutants_are_killed(place: str) -> None:
    """Those whose killers are quick, each with one of them; the others are in the soak."""
    mutants = [one for one in CATALOGUE if not one.slow and place_of(one) == place]

    verdicts = judge((mutant, mutant.killers[0]) for mutant in mutants)

    assert len(verdicts) > 5
    assert not complaint(verdicts), complaint(verdicts)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_mutant_is_killed(mutant: Mutant) -> None:
    """By all of the tests that are said to kill it, in a process that has no other mutant."""
    verdicts = judge((mutant, killer) for killer in mutant.killers)

    assert not complaint(verdicts), complaint(verdicts)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killers_pass_without_a_mistake() -> None:
    """In the same way of running them; so it is the mistake that they fail of."""
    verdicts = judge((SOUND, killer) for killer in SOUND.killers)

    failed = [str(one) for one in verdicts if one.why != "it passed"]
    assert not failed, "\n".join(failed)


def test_what_no_test_finds_survives() -> None:
    """A killer that passes is no killer, and one that does not exist is none either."""
    passes = SOUND.killers[0]

    (passed,) = judge([(SOUND, passes)])
    (missing,) = judge([(SOUND, passes + "_not")])

    assert (passed.killed, passed.why) == (False, "it passed")
    assert not missing.killed
    assert "did not run" in missing.why


def test_a_test_that_breaks_down_kills_nothing(tmp_path: Path) -> None:
    """Nor one whose fixture fails; what an assertion says is told, and children get the mutant."""
    file = tmp_path / "test_odd.py"
    file.write_text(
        textwrap.dedent(
            """
            import os
            import pytest

            @pytest.fixture
            def broken():
                assert not "here"

            def test_breaks():
                raise OSError("gone")

            def test_never_begins(broken):
                pass

            class Open:
                def __del__(self):
                    import warnings
                    warnings.warn("left open", ResourceWarning)

            def test_leaves_something_open():
                left = Open()
                assert not "found"

            def test_asserts():
                assert os.environ["LEADERSHIP_MUTANT"] == "some other", "found it"

            @pytest.mark.parametrize("number", [1, 2])
            def test_chosen(number):
                assert number == 1, "two"
            """
        )
    )
    tests = ["test_breaks", "test_never_begins", "test_leaves_something_open"]
    tests += ["test_asserts", "test_chosen[1]", "test_chosen[2]"]
    wanted = [(SOUND, f"{file}::{test}") for test in tests]

    found = [one.killed for one in judge(wanted)]

    assert found == [False, False, True, True, False, True]
