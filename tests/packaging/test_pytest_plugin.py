"""The plugin for pytest: its fixtures in a project of a user, and what it costs where it is not used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytest_plugins = ["pytester"]

_QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # that one imports for seconds

_TEST = """
from leadership_core import Candidate

def test_loss(leadership_store, leadership_clock, leadership_faults):
    candidate = Candidate(leadership_store, "key", "a", ttl=15)
    assert candidate.wait_elected(5)
    leadership_clock.advance(20)
    assert not candidate.is_leader
    assert leadership_faults.store is leadership_store
    assert leadership_faults.clock is leadership_clock
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose pytest imports the working tree."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the tests of the project in a process of its own, with each warning as an error."""
    return project.run(sys.executable, "-W", "error", "-m", "pytest", *_QUICK, *options, timeout=50)


def test_plugin_is_an_entry_point_of_the_core() -> None:
    """It is found without configuration, and nothing but pytest loads it."""
    (entry,) = entry_points(group="pytest11", name="leadership")

    assert entry.value == "leadership_core.testing.pytest_plugin"
    assert entry.dist is not None
    assert not [one for one in entry.dist.requires or [] if "pytest" in one]


def test_fixtures_belong_to_one_test(project: pytest.Pytester) -> None:
    """Each gets another store and another clock, and no thread of the last one is left, also if it has failed."""
    project.makepyfile(
        _TEST
        + """
import threading
seen = []

def leave(store):
    assert store.get("left") is None
    Candidate(store, "key", "a", on_elected=print).wait_elected(5)
    store.put("left", b"")
    assert store.url not in seen
    seen.append(store.url)

def test_first(leadership_store): leave(leadership_store)
def test_second(leadership_store): leave(leadership_store)
def test_threads(): assert threading.enumerate() == [threading.current_thread()]

def test_fails(leadership_store, leadership_faults):
    Candidate(leadership_store, "key", "a").wait_elected(5)
    leadership_faults.store_down()
    assert False

def test_threads_again(): assert threading.enumerate() == [threading.current_thread()]
"""
    )

    run(project).assert_outcomes(passed=5, failed=1)


def test_fixtures_are_listed_with_what_they_are(project: pytest.Pytester) -> None:
    """`pytest --fixtures` shows them to users."""
    result = run(project, "--fixtures")

    result.stdout.fnmatch_lines_random(
        ["leadership_clock*", "*The clock of*", "leadership_faults*", "leadership_store*"]
    )


@pytest.mark.slow
def test_fixtures_work_in_the_workers_of_xdist(project: pytest.Pytester) -> None:
    """The worker's main thread runs the test, and owns the clock."""
    project.makepyfile(_TEST)

    run(project, "-n", "1").assert_outcomes(passed=1)


def test_coroutine_tests_use_the_fixtures(project: pytest.Pytester) -> None:
    """With anyio's plugin, whose tests run in an event loop."""
    project.makepyfile(
        """
import pytest
from leadership_core import aio

@pytest.mark.anyio
async def test_loss(leadership_faults, leadership_clock):
    async with aio.open_store(leadership_faults.url) as store:
        async with aio.Candidate(store, "key", "a") as candidate:
            assert await candidate.wait_elected(5)
            leadership_clock.advance(20)
            assert not candidate.is_leader
            assert await candidate.wait_elected(5)

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
    )

    run(project).assert_outcomes(passed=1)


def test_import_before_pytest_is_no_reason_to_warn(project: pytest.Pytester) -> None:
    """There is no warning that pytest cannot rewrite the assertions of the package."""
    project.makepyfile(_TEST)
    script = (
        "import leadership_core.store, pytest, sys; "
        f"sys.exit(pytest.main(['-W', 'error', *{_QUICK}]))"
    )

    result = project.run(sys.executable, "-W", "error", "-c", script, timeout=50)

    result.assert_outcomes(passed=1)
    assert "warning" not in result.stdout.str().lower()


def test_unused_plugin_imports_nothing_of_the_library(project: pytest.Pytester) -> None:
    """A project that does not use the fixtures pays for four small modules."""
    project.makepyfile(
        """
import sys

def test_modules():
    found = {name for name in sys.modules if name.startswith("leadership")}
    assert found == {
        "leadership_core", "leadership_core.lazy", "leadership_core.testing",
        "leadership_core.testing.pytest_plugin",
    }
"""
    )

    run(project).assert_outcomes(passed=1)


def test_core_imports_without_pytest(tmp_path: Path) -> None:
    """Neither the core nor the test kit needs it."""
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "from leadership_core import Candidate\n"
        "from leadership_core.testing import StoreFaults, StoreContract\n"
        "with StoreFaults() as faults:\n"
        "    assert Candidate(faults.store, 'key', 'a').wait_elected(5)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert (done.returncode, done.stderr) == (0, "")
