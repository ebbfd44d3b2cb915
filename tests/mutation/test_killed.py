"""Each mutant is killed by its killers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.mutation.catalogue import CATALOGUE, SOUND
from tests.mutation.mutant import Mutant
from tests.mutation.verdicts import Verdict, judge

pytestmark = pytest.mark.slow

_SERVERS = ("consul", "etcd", "zookeeper", "postgres, redis and kubernetes")


def place_of(mutant: Mutant) -> str:
    """The servers of the run in which its quickest killer is."""
    path = mutant.killers[0]
    return next((one for one in _SERVERS if any(name in path for name in _names(one))), "no server")


def _names(place: str) -> list[str]:
    return place.replace(" and ", ", ").split(", ")


def complaint(verdicts: list[Verdict]) -> str:
    return "\n".join(str(one) for one in verdicts if not one.killed)


@pytest.mark.timeout(1200)  # each waits in vain for something, which takes longer under load
@pytest.mark.parametrize(
    "place", ["no server", *(pytest.param(one, marks=pytest.mark.server) for one in _SERVERS)]
)
def test_mutants_are_killed(place: str) -> None:
    """Quick mutants are killed by their first killer."""
    mutants = [one for one in CATALOGUE if not one.slow and place_of(one) == place]

    verdicts = judge((mutant, mutant.killers[0]) for mutant in mutants)

    assert len(verdicts) > 5
    assert not complaint(verdicts), complaint(verdicts)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", CATALOGUE, ids=str)
def test_mutant_is_killed_by_all_its_killers(mutant: Mutant) -> None:
    """All killers kill the mutant, in a process without other mutants."""
    verdicts = judge((mutant, killer) for killer in mutant.killers)

    assert not complaint(verdicts), complaint(verdicts)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killers_pass_without_mutant() -> None:
    """All killers pass without a mutant, run in the same way."""
    verdicts = judge((SOUND, killer) for killer in SOUND.killers)

    failed = [str(one) for one in verdicts if one.why != "it passed"]
    assert not failed, "\n".join(failed)


def test_mutant_survives_passed_or_missing_killer() -> None:
    """A killer that passes, or does not exist, does not kill."""
    passes = SOUND.killers[0]

    (passed,) = judge([(SOUND, passes)])
    (missing,) = judge([(SOUND, passes + "_not")])

    assert (passed.killed, passed.why) == (False, "it passed")
    assert not missing.killed
    assert "did not run" in missing.why


def test_only_failed_assertions_kill(tmp_path: Path) -> None:
    """An error or a failed fixture is no kill; children get the mutant's name."""
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
