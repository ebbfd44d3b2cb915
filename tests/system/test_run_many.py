"""`leadership run` over many children and many terms: nothing accumulates."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child_log import assert_one_term_at_a_time
from tests.support.paths import ROOT, python_path
from tests.support.run_processes import RunFleet, RunProcess
from tests.support.waiting import wait_until
from tests.system.conftest import TargetStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # the waits grow with the load

_PROGRAM = ROOT / "tests" / "support" / "many_children.py"
_NOISE = 1500  # kilobytes by which the memory of a process that leaks nothing may grow


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.mark.parametrize(
    ("number", "command"),
    [
        (100, ["true"]),
        (15, ["sh", "-c", "sleep 100 & setsid sleep 100 & true"]),
        pytest.param(10_000, ["true"], marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
    ],
    ids=["short", "with orphans", "10,000"],
)
def test_many_children_leak_nothing(number: int, command: list[str]) -> None:
    """No descriptor, thread or child is left after them, and memory does not grow."""
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), str(number), *command],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    usage = json.loads(done.stdout)
    for process in ("this", "guard"):
        before, after = usage["before"][process], usage["after"][process]
        grown = after.pop("kilobytes") - before.pop("kilobytes")
        assert after == before, process
        assert grown < _NOISE, process


@pytest.fixture
def fleet(target: TargetStore, unique_key: str, tmp_path: Path) -> Iterator[RunFleet]:
    made = RunFleet(tmp_path / "run", target.url, unique_key, ttl=5.0)
    yield made
    made.close()


def used(run: RunProcess) -> tuple[int, int, int]:
    """How many threads, connections to the database, and other descriptors a process has."""
    folder = Path(f"/proc/{run.process.pid}")
    targets = []
    for link in (folder / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            targets.append(str(link.readlink()))
    return (
        len(list((folder / "task").iterdir())),
        sum(target.endswith("/elections.db") for target in targets),
        sum("/elections.db" not in target for target in targets),  # those beside it come and go
    )


def assert_has_leaked_nothing(run: RunProcess, before: tuple[int, int, int]) -> None:
    """Fail if a process uses more than before; one of anything for each term would be three more."""
    # The engine starts threads, each with a connection, as it needs them; and a term has just ended.
    most = tuple(number + 2 for number in before)
    wait_until(lambda: all(map(operator.le, used(run), most)), 5, f"{used(run)} after {before}")


@pytest.mark.parametrize(
    "terms", [6, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])]
)
def test_many_terms_leak_nothing(fleet: RunFleet, terms: int) -> None:
    """Two processes hand the term over to each other, again and again."""
    runs = [fleet.start(), fleet.start()]
    token = fleet.wait_child()
    before: dict[RunProcess, tuple[int, int, int]] = {}
    for number in range(terms + 4):
        if number == 4:
            before = {run: used(run) for run in runs}
        leader = fleet.leader(token)
        (other,) = set(runs) - {leader}
        other.wait("campaigning")
        leader.signal(signal.SIGUSR1)
        token = fleet.wait_child(token)
    for run in runs:
        assert_has_leaked_nothing(run, before[run])
        run.signal(signal.SIGTERM)
        assert run.code() == 143
    assert_one_term_at_a_time(fleet.log, terms=terms)
