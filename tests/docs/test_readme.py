"""The Python blocks of the README do what their comments say."""

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

from tests.servers.consul import Consul
from tests.support.machine import at_most

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
CANDIDATE, FOLLOWER, WORK, FENCE, STORE = BLOCKS
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
    """Press Ctrl-C, as a reader of the README would; returns what was said on stderr."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    return said


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_ends_gracefully_at_sigterm(block: str) -> None:
    """Whoever copies a program from here can end it with SIGTERM."""
    assert "\ngraceful_exit()" in block
    assert "graceful_exit, " in block


def test_sigterm_releases_what_is_held(start: Start, url: str) -> None:
    """A rolling update ends the leader with SIGTERM; the next one leads at once."""
    first = start(WORK.replace("ttl=5", "ttl=12"), url)
    lines(first, 1)
    second = start(WORK.replace("ttl=5", "ttl=12").replace("node-1", "node-2"), url)

    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    told = lines(second, 1)
    waited = time.monotonic() - began

    interrupt(second)
    assert told[0].startswith("working")
    assert waited < at_most(5)
    assert (first.wait(10), first.communicate()[1]) == (143, "")


def test_candidate_wins_resigns_and_stands_again(start: Start, url: str) -> None:
    """The first example: lost first, then won, lost by its own resignation, and won again."""
    process = start(CANDIDATE, url)

    told = lines(process, 4)

    assert interrupt(process).rstrip().endswith("KeyboardInterrupt")
    assert told == [
        "Lost the election, let's try another time",
        "I won the election! I'm now the leader",
        "Lost the election, let's try another time",
        "I won the election! I'm now the leader",
    ]


def test_follower_sees_nobody_then_the_leader_then_nobody(start: Start, url: str) -> None:
    """The second example, started before the first."""
    follower = start(FOLLOWER, url)
    assert lines(follower, 1) == ["no leader"]

    candidate = start(CANDIDATE, url)
    told = lines(follower, 2)

    interrupt(candidate)
    interrupt(follower)
    assert told == ["underwood is now the leader", "no leader"]


def test_work_is_called_with_a_term(start: Start, url: str) -> None:
    """The example of `lead`: the work runs, and knows how long it may."""
    program = WORK.replace("ttl=5", "ttl=12")  # what an ordinary Consul accepts

    process = start(program, url)
    told = lines(process, 2)

    interrupt(process)
    for line in told:
        assert re.fullmatch(r"working, \d+\.\d s are certain, fencing token \d+", line)


def test_fenced_write_is_refused_after_the_term(start: Start, url: str) -> None:
    """The example of fencing: the store itself refuses what comes late."""
    process = start(FENCE, url)

    told, said = process.communicate(timeout=30)

    assert (told, said, process.returncode) == ("refused by the store\n", "", 0)


def test_the_store_does_what_its_comments_say(start: Start, url: str) -> None:
    """The example of the store: each line of it, on a store that is new or has been used before."""
    for _ in range(2):
        process = start(STORE, url)
        told, said = process.communicate(timeout=30)
        assert (said, process.returncode) == ("", 0)
        assert told.splitlines() == [
            "somebody was faster", "[]", "refused by the store", "True 1 False"
        ]  # fmt: skip


def test_ctrl_c_releases_what_is_held(start: Start, url: str) -> None:
    """A leader that is interrupted leaves at once, so that another need not wait for the ttl."""
    first = start(WORK.replace("ttl=5", "ttl=12"), url)
    lines(first, 1)
    second = start(WORK.replace("ttl=5", "ttl=12").replace("node-1", "node-2"), url)

    interrupt(first)
    began = time.monotonic()
    told = lines(second, 1)

    interrupt(second)
    assert told[0].startswith("working")
    assert time.monotonic() - began < at_most(5)
