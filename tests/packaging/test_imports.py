"""Imports and public names of the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import leadership_core
from leadership_core.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
CORE = ROOT / "leadership_core"


def _imported(file: Path) -> Iterator[str]:
    """The top-level name of every absolute import in a file, also of those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_core_imports_no_backend_and_no_client_library() -> None:
    """Only the standard library and pluggy; the kit for plugin authors may use test tools."""
    allowed = sys.stdlib_module_names | {"leadership_core", "pluggy"}
    kit = {"hypothesis", "pytest"}
    foreign = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted(CORE.rglob("*.py"))
        for name in _imported(file)
        if name not in (allowed | kit if CORE / "testing" in file.parents else allowed)
    ]

    assert foreign == []


def test_importing_the_core_loads_no_backend() -> None:
    """Importing the core loads no plugin, not even an embedded one."""
    foreign = (
        *(
            "leadership_core.stores.memory",
            "leadership_core.stores.sqlite",
            "leadership_core.testing",
            "leadership_core.status",
        ),
        *("leadership_core.aio", "asyncio"),
        *("sqlite3", "consul", "requests", "etcd3", "grpc", "google", "kazoo", "yaml", "redis"),
    )
    script = (
        f"import sys, leadership_core; print(*sorted({{n for n in sys.modules if n.startswith("
        f"{foreign!r})"
        " or n.startswith('leadership_') and not n.startswith('leadership_core')}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


def test_all_has_every_public_name() -> None:
    """`__all__` has exactly the public names of the package."""
    visible = {
        name
        for name in dir(leadership_core)
        if not name.startswith("_") and not isinstance(getattr(leadership_core, name), ModuleType)
    } - {"TYPE_CHECKING", "annotations", "lazy_names", "module_of_names"}

    assert sorted(leadership_core.__all__) == sorted(visible)


@pytest.mark.parametrize("module", ["leadership_core", "leadership_core.testing.pytest_plugin"])
def test_names_are_imported_when_they_are_used(module: str) -> None:
    """Pytest imports the plugin at each start, and must not import the engine with it."""
    script = (
        f"import sys, {module}; "
        "print(*[n for n in sys.modules if n.startswith('leadership_core.')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    above = {"leadership_core.testing", "leadership_core.testing.pytest_plugin"}
    assert set(done.stdout.split()) - above == {"leadership_core.lazy"}


_FOREIGN = """
import ctypes, os, sys
for name in ("register_at_fork", "fork"):  # as on Windows
    if hasattr(os, name):
        delattr(os, name)
if sys.argv[1] == "no pythonapi":  # as on PyPy
    del ctypes.pythonapi
elif sys.argv[1] == "no ctypes":  # as in a Python without libffi
    sys.modules["ctypes"] = None

import leadership_core
import leadership_core.backend.fork
from leadership_core import open_store
from leadership_core.stores.sqlite.connection import Connection

leadership_core.backend.fork.leak(object())
for url in ("memory://", "sqlite:///" + sys.argv[2]):
    with open_store(url) as store:
        with leadership_core.Candidate(store, "key", "a", ttl=5).leading(5):
            pass
for name in ("leadership_consul", "leadership_zookeeper"):
    __import__(name)
"""


@pytest.mark.parametrize("lack", ["no fork", "no pythonapi", "no ctypes"])
def test_platform_without_fork_or_pythonapi_imports_and_works(lack: str, tmp_path: Path) -> None:
    """The library can be imported and can lead without features of CPython on Unix."""
    done = subprocess.run(
        [sys.executable, "-c", _FOREIGN, lack, str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


_HEAVY = {
    *(
        "asyncio",
        "dataclasses",
        "email",
        "http",
        "importlib.metadata",
        "inspect",
        "json",
        "logging",
    ),
    *("pathlib", "pluggy", "random", "socket", "ssl", "subprocess", "tempfile", "urllib"),
}
"""Modules of the standard library, and pluggy, that take long to import."""

_LOADED = f"print(*sorted({_HEAVY!r} & set(sys.modules)))"


@pytest.mark.parametrize(
    "first",
    ["import leadership_core", "from leadership_core import Candidate, Follower, Lock, open_store"],
)
def test_importing_the_names_of_programs_loads_nothing_heavy(first: str) -> None:
    """What opening a store needs is imported there."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {first}; {_LOADED}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == []


_SHELLS = {
    *("candidate", "engine", "errors", "follower", "lazy", "lock", "only_leader", "store", "term"),
    *("engine.deferred_exit", "engine.store_base"),
    *("backend", "backend.clock", "backend.deadline", "backend.event_count"),
    *("backend.expectations", "backend.threads", "backend.time_source", "backend.tracebacks"),
    "backend.validation",
}
"""The modules of the core behind the names that programs import: what they do before a store is open."""


def test_importing_the_names_of_programs_loads_no_engine() -> None:
    """Threads, state machines, events and URLs are imported when the first store is opened."""
    script = (
        "import sys; from leadership_core import Candidate, Follower, Lock, Store, Term, open_store; "
        "print(*[n for n in sys.modules if n.startswith('leadership_core.')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert {name.removeprefix("leadership_core.") for name in done.stdout.split()} == _SHELLS


def test_opening_a_store_loads_the_whole_engine() -> None:
    """A candidate that is made later, without memory or descriptors, needs no import."""
    script = (
        "import sys; from leadership_core import Candidate, Follower, Lock, open_store\n"
        "with open_store('memory://') as store:\n"
        "    before = set(sys.modules)\n"
        "    follower, lock = Follower(store, 'key').start(), Lock(store, 'lock')\n"
        "    with Candidate(store, 'key', 'a', ready=lambda: True, watchdog=9) as candidate:\n"
        "        candidate.wait_elected(5)\n"
        "        store.exists('key'), store.delete_tree('other'), lock.acquire(5), lock.release()\n"
        "    print(*[n for n in set(sys.modules) - before if n.startswith('leadership_core.')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


_MAIN = {
    *("cli", "cli.main", "cli.output", "cli.command", "cli.commands"),
    *("lazy", "errors", "backend", "backend.clock", "backend.text"),
}
"""The modules of the core behind `leadership --help`."""

_PARSER = {
    *("cli.arguments", "cli.addresses", "cli.bench_options"),
    *("backend.duration", "backend.expectations", "backend.validation"),
}
"""What reads the words of a command, and prints its help."""

_STORES = {"cli.logs", "cli.stores", "installation"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--help", _MAIN),
        ("--version", _MAIN),
        *((f"{name} --help", _MAIN | _PARSER) for name in COMMANDS),
        ("stores", _MAIN | _PARSER | _STORES),
    ],
)
def test_commands_load_what_they_need(words: str, expected: set[str]) -> None:
    """So that they start quickly: no engine before a store is opened, no plugin in `stores`."""
    script = (
        "import contextlib, sys\n"
        "from leadership_core.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):\n"
        "    main(sys.argv[1:])\n"
        f"{_LOADED}\n"
        "print(*[name for name in sys.modules if name.startswith('leadership_')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    heavy, _, ours = done.stdout.partition("\n")
    prefix = "leadership_core."
    assert {name.removeprefix(prefix) for name in ours.split()} == {"leadership_core", *expected}
    if words != "stores":  # that reads the metadata of what is installed
        assert heavy == ""
    else:
        assert "pluggy" not in heavy
