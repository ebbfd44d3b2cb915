"""The programs of docs/programs.md, run as they are, and ended as an operator does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "programs.md").read_text()
CALLBACKS, WORKING, LEAD, READY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a program in a process that ends with the test; its database is in its folder."""
    with ExitStack() as stack:

        def run(program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-X", "dev", "-W", "error", "-u", "-c", program],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def read_until(process: subprocess.Popen[str], begin: str) -> None:
    """Read what it prints up to a line that begins so."""
    assert process.stdout is not None
    for found in process.stdout:
        if found.startswith(begin):
            return
    raise AssertionError(f"it has ended without {begin!r}: {process.communicate()[1]}")


def end(process: subprocess.Popen[str]) -> str:
    """End it with SIGTERM; returns what it still prints."""
    process.terminate()
    printed, errors = process.communicate(timeout=30)
    assert errors == ""
    assert process.returncode == 128 + 15
    return printed


@pytest.mark.parametrize(
    ("program", "line", "last"),
    [
        (CALLBACKS, "elected, token ", "not leader any more: resigned"),
        (WORKING, "worked, token ", ""),
        (LEAD, "elected, token ", ""),
        (READY, "leader", ""),
    ],
    ids=["callbacks", "working", "lead", "ready"],
)
def test_program_leads_and_hands_over(start: Start, program: str, line: str, last: str) -> None:
    """It does its work, and the same program in a second process goes on after SIGTERM."""
    first = start(program)
    read_until(first, line)
    second = start(program)
    assert last in end(first)
    read_until(second, line)
    end(second)


def test_working_program_says_why_it_does_not_lead(start: Start) -> None:
    """The second one is a standby, and its decorated function returns the other value."""
    first = start(WORKING)
    read_until(first, "cleaned up")
    second = start(WORKING)
    read_until(second, "'node-1' does not lead jobs on sqlite:///leadership.db: it is not elected")
    read_until(second, "standby")


def test_program_that_is_not_ready_hands_over(start: Start, tmp_path: Path) -> None:
    """A file says that it is under maintenance, as the page does."""
    process = start(READY)
    read_until(process, "leader")
    (tmp_path / "maintenance").touch()
    read_until(process, "standby")
    (tmp_path / "maintenance").unlink()
    read_until(process, "leader")
    end(process)
