"""The example as a third party's distribution: its size, installation and tests."""

from __future__ import annotations

import re
import shutil
import signal
import time

import pytest

from tests.integration.plugin.third_party import ThirdParty
from tests.packaging.environment import ROOT
from tests.support.servers.redis import RedisServer
from tests.support.waiting import at_most

pytestmark = pytest.mark.build

EXAMPLE = ROOT / "examples" / "leadership_example"
README = (EXAMPLE / "README.md").read_text()


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> ThirdParty:
    third_party = ThirdParty(tmp_path_factory.mktemp("third_party"))
    copy = third_party.folder / "leadership_example"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    third_party.install(str(ROOT / "leadership_core"), str(copy))
    # What is installed is to be tested, not what it was installed from.
    shutil.rmtree(copy / "leadership_example")
    return third_party


def test_example_is_small() -> None:
    """It has at most 280 lines of Python, with its test and blank lines, and one short script."""
    files = [path for path in EXAMPLE.rglob("*.py") if "__pycache__" not in path.parts]
    lines = {path.name: len(path.read_text().splitlines()) for path in files}

    assert sum(lines.values()) <= 280, lines
    assert len((EXAMPLE / "leadership_example" / "script.lua").read_text().splitlines()) < 70


def test_example_is_listed_by_its_scheme(third_party: ThirdParty) -> None:
    """`leadership stores` names the scheme and the distribution that provides it."""
    assert re.search(
        r"^redis-example\b.*leadership-example 0\.1\.0",
        third_party.run("leadership", "stores"),
        re.MULTILINE,
    )


@pytest.mark.timeout(240)
def test_example_passes_its_own_contract(third_party: ThirdParty, redis: RedisServer) -> None:
    """Its own tests pass as its author runs them, and leave nothing in Redis."""
    said = third_party.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "leadership_example/tests"),
        seconds=220,
        REDIS_URL=redis.url,
    )

    passed = re.search(r"^(\d+) passed in", said, re.MULTILINE)
    assert passed is not None, said
    assert int(passed[1]) > 100
    assert redis.ask("HLEN leadership:entries").startswith(":0")
    assert redis.ask("KEYS leadership:session:*").startswith("*0")


def test_readme_of_the_example_works(third_party: ThirdParty, redis: RedisServer) -> None:
    """Its Python block runs with only the address changed."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program, places = re.subn(r"redis-example://:password@localhost:6379", redis.url, block)
    assert places == 1

    third_party.run("python", "-X", "dev", "-W", "error", "-c", program)

    assert "2026-11-23" in redis.ask("HGET leadership:entries prefix/service/last-run")


def test_elect_works_on_the_example(third_party: ThirdParty, redis: RedisServer) -> None:
    """The second `leadership elect` leads after SIGTERM to the first one."""

    def leader() -> str:
        return third_party.run("leadership", "leader", redis.url, "service/worker").strip()

    words = ("leadership", "elect", "--ttl", "30", "--json", redis.url, "service/worker")
    with third_party.started(*words, "one") as first:
        first.await_event("elected")
        with third_party.started(*words, "two") as second:
            second.await_event("campaigning")
            assert leader() == "one"

            begun = time.monotonic()
            first.signal(signal.SIGTERM)
            second.await_event("elected")
            assert time.monotonic() - begun < at_most(3)
            assert leader() == "two"
