"""The example as a third party's distribution: small, installed with pip, found, and sound."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.environment import ROOT, Environment
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.build

EXAMPLE = ROOT / "examples" / "leadership_example"
README = (EXAMPLE / "README.md").read_text()


class Stranger:
    """Somebody who has installed the core and the example, and stands in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = Environment(folder / "venv")
        copy = folder / "leadership_example"
        shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        self._environment.install(str(ROOT / "leadership_core"), str(copy))
        # What they have copied is what is installed, not what is imported.
        shutil.rmtree(copy / "leadership_example")

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of the environment."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.Popen(
            [str(self._environment.python.parent / words[0]), *words[1:]],
            cwd=self.folder,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, seconds: float = 30, **environment: str) -> str:
        """Run a command of the environment, which must succeed; returns what it says."""
        with self.start(*words, **environment) as process:
            try:
                said, _ = process.communicate(timeout=seconds)
            finally:
                process.kill()
        assert process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return Stranger(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def elect(stranger: Stranger) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_it_is_small() -> None:
    """Under 200 lines of Python with everything, its test and its blank lines; and one script."""
    files = [path for path in EXAMPLE.rglob("*.py") if "__pycache__" not in path.parts]
    lines = {path.name: len(path.read_text().splitlines()) for path in files}

    assert sum(lines.values()) < 200, lines
    assert len((EXAMPLE / "leadership_example" / "step.lua").read_text().splitlines()) < 70


def test_it_is_listed_by_its_scheme(stranger: Stranger) -> None:
    """`leadership stores` names the scheme and the distribution that brings it."""
    assert re.search(
        r"^redis\b.*leadership-example 0\.1\.0", stranger.run("leadership", "stores"), re.MULTILINE
    )


@pytest.mark.timeout(240)
def test_its_own_contract_passes(stranger: Stranger, redis: RedisServer) -> None:
    """The test that is part of it, run as its author runs it; Redis holds nothing afterwards."""
    said = stranger.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "leadership_example/tests"),
        seconds=220,
        REDIS_URL=redis.url,
    )

    passed = re.search(r"^(\d+) passed in", said, re.MULTILINE)
    assert passed is not None, said
    assert int(passed[1]) > 100
    assert redis.ask("HLEN leadership:entries").startswith(":0")
    assert redis.ask("KEYS leadership:session:*").startswith("*0")


def test_the_readme_works(stranger: Stranger, redis: RedisServer) -> None:
    """The block of Python, word for word but for the address."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program, places = re.subn(r"redis://:password@localhost:6379", redis.url, block)
    assert places == 1

    stranger.run("python", "-X", "dev", "-W", "error", "-c", program)

    assert "2026-11-23" in redis.ask("HGET leadership:entries prefix/service/last-run")


def test_the_command_elects_on_it(
    stranger: Stranger, redis: RedisServer, elect: list[subprocess.Popen[str]]
) -> None:
    """Two `leadership elect`: the second one leads when the first one is asked to leave."""
    words = ("leadership", "elect", redis.url, "service/worker")
    for value in ("one", "two"):
        elect.append(stranger.start(*words, value, "--ttl", "3", "--json"))
        if value == "one":
            _await_event(elect[0], "elected")
    assert stranger.run("leadership", "leader", redis.url, "service/worker").strip() == "one"

    begun = time.monotonic()
    elect[0].terminate()
    _await_event(elect[1], "elected")
    assert time.monotonic() - begun < 3
    assert stranger.run("leadership", "leader", redis.url, "service/worker").strip() == "two"


def _await_event(process: subprocess.Popen[str], name: str) -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if json.loads(line).get("event") == name:
            return
    pytest.fail(f"it never said {name}: {said}")
