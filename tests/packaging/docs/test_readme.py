"""The Python blocks of the README, run as they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.servers.consul import Consul
from tests.support.waiting import at_most

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
CANDIDATE, FOLLOWER, WORK, ASYNCIO, FENCE, STORE = BLOCKS
URL = re.compile(r'open_store\("[^"]+"\)')


@pytest.fixture(params=["sqlite", "consul"])
def url(request: pytest.FixtureRequest, usual_consul: Consul, quick_folder: Path) -> str:
    """A store of each kind that the README names."""
    return (
        usual_consul.url if request.param == "consul" else f"sqlite:///{quick_folder}/leadership.db"
    )


Start: TypeAlias = Callable[[str, str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a block, word for word but for the URL, in a process that ends with the test."""
    with ExitStack() as stack:

        def run(block: str, url: str) -> subprocess.Popen[str]:
            program, places = URL.subn(f'open_store("{url}")', block)
            assert places == 1
            process = subprocess.Popen(
                [sys.executable, "-X", "dev", "-u", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            stack.enter_context(process)  # waits for its end
            stack.callback(process.kill)
            return process

        yield run


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def interrupt(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, as a reader of the README would; returns its stderr."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    return errors


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_ends_gracefully_at_sigterm(block: str) -> None:
    """Each block calls `graceful_exit`, so that SIGTERM ends a copy of it in order."""
    assert "\ngraceful_exit()" in block
    assert re.search(r"import .*\bgraceful_exit\b", block)


def test_sigterm_releases_the_claim(start: Start, url: str) -> None:
    """A rolling update ends the leader with SIGTERM; the next one leads at once."""
    first = start(WORK.replace("ttl=5", "ttl=12"), url)
    lines(first, 1)
    second = start(WORK.replace("ttl=5", "ttl=12").replace("node-1", "node-2"), url)

    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    printed = lines(second, 1)
    waited = time.monotonic() - began

    interrupt(second)
    assert printed[0].startswith("working")
    assert waited < at_most(5)
    assert (first.wait(10), first.communicate()[1]) == (143, "")


def test_candidate_wins_resigns_and_wins_again(start: Start, url: str) -> None:
    """The first example: lost first, then won, lost by its own resignation, and won again."""
    process = start(CANDIDATE, url)

    printed = lines(process, 4)

    assert interrupt(process).rstrip().endswith("KeyboardInterrupt")
    assert printed == [
        "Lost the election, let's try another time",
        "I won the election! I'm now the leader",
        "Lost the election, let's try another time",
        "I won the election! I'm now the leader",
    ]


def test_follower_sees_leader_between_vacancies(start: Start, url: str) -> None:
    """The second example, started before the first."""
    follower = start(FOLLOWER, url)
    assert lines(follower, 1) == ["no leader"]

    candidate = start(CANDIDATE, url)
    printed = lines(follower, 2)

    interrupt(candidate)
    interrupt(follower)
    assert printed == ["underwood is now the leader", "no leader"]


def test_work_is_called_with_a_term(start: Start, url: str) -> None:
    """The example of `lead`: the work runs with its remaining time and its token."""
    program = WORK.replace("ttl=5", "ttl=12")  # what an ordinary Consul accepts

    process = start(program, url)
    printed = lines(process, 2)

    interrupt(process)
    for line in printed:
        assert re.fullmatch(r"working, \d+\.\d s are certain, fencing token \d+", line)


def test_coroutine_of_the_leader_works_until_sigterm(start: Start, url: str) -> None:
    """The example of asyncio: it works with its token, and SIGTERM releases the claim."""
    program = ASYNCIO.replace('"node-1")', '"node-1", ttl=12)')
    first = start(program, url)
    printed = lines(first, 2)
    second = start(program, url)

    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    printed += lines(second, 1)

    assert time.monotonic() - began < at_most(5)
    interrupt(second)
    assert all(re.fullmatch(r"working, with token \d+", line) for line in printed)
    assert first.wait(10) == 143
    # In debug mode asyncio prints a line for each slow step, such as the import of a client library.
    errors = first.communicate()[1].splitlines()
    assert [line for line in errors if not line.startswith("Executing <")] == []


def test_fenced_write_is_refused_after_the_term(start: Start, url: str) -> None:
    """The example of fencing: the store refuses the late write."""
    process = start(FENCE, url)

    printed, errors = process.communicate(timeout=30)

    assert (printed, errors, process.returncode) == ("refused by the store\n", "", 0)


def test_store_example_prints_its_results(start: Start, url: str) -> None:
    """The example of the store, on a new store and on a used one."""
    for _ in range(2):
        process = start(STORE, url)
        printed, errors = process.communicate(timeout=30)
        assert (errors, process.returncode) == ("", 0)
        assert printed.splitlines() == [
            "another program was faster", "[]", "refused by the store", "True 1 False"
        ]  # fmt: skip


def test_ctrl_c_releases_the_claim(start: Start, url: str) -> None:
    """After Ctrl-C another candidate leads at once, and not after the ttl."""
    first = start(WORK.replace("ttl=5", "ttl=12"), url)
    lines(first, 1)
    second = start(WORK.replace("ttl=5", "ttl=12").replace("node-1", "node-2"), url)

    interrupt(first)
    began = time.monotonic()
    printed = lines(second, 1)

    interrupt(second)
    assert printed[0].startswith("working")
    assert time.monotonic() - began < at_most(5)
