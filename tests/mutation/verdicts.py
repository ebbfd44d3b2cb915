"""Verdicts on mutants: runs tests with them in a process apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .mutant import Mutant

__all__ = ["ROOT", "VARIABLE", "Failure", "Outcome", "Verdict", "judge"]

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "LEADERSHIP_MUTANT"
"""Variable with the name of the mutant, for processes that a test starts."""

_START = 60.0  # seconds for starting and ending servers
_LIMIT = 150  # seconds for pytest: an assertion that waits for 8 s takes ten times that under load
_EACH = _LIMIT + 10.0  # seconds for a test


@dataclass(frozen=True)
class Failure:
    """Why a test has failed.

    Attributes:
        when: setup, call or teardown.
        error: the name of the exception.
        says: first line of its message.
        asserted: whether an assertion of the test failed.
    """

    when: str
    error: str
    says: str
    asserted: bool


@dataclass
class Outcome:
    """Outcome of one test with one mutant."""

    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    @property
    def found_it(self) -> bool:
        """Whether the test failed by assertions only, and not in its setup."""
        failures = self.failures
        return bool(failures) and all(one.asserted and one.when != "setup" for one in failures)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Whether a test kills a mutant.

    Attributes:
        killed: whether it is.
        why: message of the test, or the reason why this is no kill.
        seconds: duration of the test.
    """

    mutant: Mutant
    test: str
    killed: bool
    why: str
    seconds: float

    def __str__(self) -> str:
        said = "killed" if self.killed else "SURVIVED"
        return f"{said} {self.seconds:5.1f} s  {self.mutant.name} | {self.test} | {self.why}"


def judge(pairs: Iterable[tuple[Mutant, str]]) -> list[Verdict]:
    """Run these tests with these mutants, in one other process."""
    wanted = list(pairs)
    mutants = {mutant.name: mutant for mutant, _ in wanted}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "verdicts.json"
        command = _command(list(mutants), {test for _, test in wanted}, file)
        said = _run(command, Path(folder), len(wanted))
        rows = json.loads(file.read_text()) if file.exists() else []
    found: dict[tuple[str, str], list[Outcome]] = {}
    for row in rows:
        outcome = Outcome(row["seconds"], [Failure(**one) for one in row["failures"]])
        plain = row["test"].partition("[")[0]
        for test in {row["test"], plain}:
            found.setdefault((row["mutant"], test), []).append(outcome)
    return [
        _verdict(mutant, test, found.get((mutant.name, test), []), said) for mutant, test in wanted
    ]


def _verdict(mutant: Mutant, test: str, outcomes: Sequence[Outcome], said: str) -> Verdict:
    seconds = sum(one.seconds for one in outcomes)
    if not outcomes:
        return Verdict(mutant, test, killed=False, why=f"it did not run: {said}", seconds=seconds)
    # Without parameters it means all variants: at least one has to kill, none may break.
    failed = [one for one in outcomes if one.failures]
    killed = bool(failed) and all(one.found_it for one in failed)
    why = "; ".join(
        f"{one.error} in {one.when}: {one.says}" for out in failed[:1] for one in out.failures
    )
    return Verdict(mutant, test, killed=killed, why=why or "it passed", seconds=seconds)


def _command(names: Sequence[str], tests: Iterable[str], file: Path) -> list[str]:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.mutation.patched_tree",
        "-p",
        "no:cacheprovider",
    ]
    words += ["-q", "-m", "", "--tb=line", f"--timeout={_LIMIT}", "--verdicts", str(file)]
    # Objects that a failed test leaves open are collected later, and some versions of Python report
    # that as a second failure.
    for warning in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
        words += ["-W", f"ignore::{warning}"]
    for name in names:
        words += ["--mutant", name]
    return words + sorted(tests)


def _run(command: Sequence[str], folder: Path, tests: int) -> str:
    """Run it, within the time limit; returns the end of its output."""
    # The surrounding run of pytest must not configure it.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        process.wait(_START + _EACH * tests)
    except subprocess.TimeoutExpired:
        return "it took too long"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with all processes that it has started
            process.wait()
    return said.read_text(errors="replace")[-1500:]
