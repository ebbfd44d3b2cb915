"""The example as a third party's distribution: small, installed with pip, found, and sound."""

from __future__ import annotations

import re
import shutil
import signal
import time

import pytest

from tests.examples.stranger import Stranger
from tests.packaging.environment import ROOT
from tests.servers.redis import RedisServer
from tests.support.machine import at_most

pytestmark = pytest.mark.build

EXAMPLE = ROOT / "examples" / "leadership_example"
README = (EXAMPLE / "README.md").read_text()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    stranger = Stranger(tmp_path_factory.mktemp("stranger"))
    copy = stranger.folder / "leadership_example"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    stranger.install(str(ROOT / "leadership_core"), str(copy))
    # What is installed is to be tested, not what it was installed from.
    shutil.rmtree(copy / "leadership_example")
    return stranger


def test_it_is_small() -> None:
    """At most 200 lines of Python with everything, its test and its blank lines; and one script."""
    files = [path for path in EXAMPLE.rglob("*.py") if "__pycache__" not in path.parts]
    lines = {path.name: len(path.read_text().splitlines()) for path in files}

    assert sum(lines.values()) <= 200, lines
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


def test_the_command_elects_on_it(stranger: Stranger, redis: RedisServer) -> None:
    """Two `leadership elect`: the second one leads when the first one is asked to leave."""

    def leader() -> str:
        return stranger.run("leadership", "leader", redis.url, "service/worker").strip()

    words = ("leadership", "elect", "--ttl", "30", "--json", redis.url, "service/worker")
    with stranger.started(*words, "one") as first:
        first.await_event("elected")
        with stranger.started(*words, "two") as second:
            second.await_event("campaigning")
            assert leader() == "one"

            begun = time.monotonic()
            first.signal(signal.SIGTERM)
            second.await_event("elected")
            assert time.monotonic() - begun < at_most(3)
            assert leader() == "two"
