"""The core stands alone, and shows what it says it shows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import leadership_core

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
    """A program that imports the core has loaded no plugin, not even one of the core's own."""
    foreign = (
        *("leadership_core.memory", "leadership_core.sqlite", "leadership_core.testing"),
        *("sqlite3", "consul", "requests", "etcd3", "grpc", "google", "kazoo", "redis"),
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


def test_all_is_what_is_visible() -> None:
    """Every public name of the package is in `__all__`, and the other way round."""
    visible = {
        name
        for name, thing in vars(leadership_core).items()
        if not name.startswith("_") and not isinstance(thing, ModuleType)
    } - {"annotations"}

    assert sorted(leadership_core.__all__) == sorted(visible)


_FOREIGN = """
import ctypes, os, sys
for name in ("register_at_fork", "fork"):  # as on Windows
    if hasattr(os, name):
        delattr(os, name)
if sys.argv[1] == "no pythonapi":  # as on PyPy
    del ctypes.pythonapi
elif sys.argv[1] == "no ctypes":  # as where Python was built without libffi
    sys.modules["ctypes"] = None

import leadership_core
import leadership_core.fork
from leadership_core import open_store
from leadership_core.sqlite.connection import Connection

leadership_core.fork.leak(object())
for url in ("memory://", "sqlite:///" + sys.argv[2]):
    with open_store(url) as store:
        with leadership_core.Candidate(store, "key", "a", ttl=5).leading(5):
            pass
for name in ("leadership_consul", "leadership_zookeeper"):
    __import__(name)
"""


@pytest.mark.parametrize("lack", ["no fork", "no pythonapi", "no ctypes"])
def test_platform_without_fork_or_pythonapi_imports_and_works(lack: str, tmp_path: Path) -> None:
    """What only CPython on a Unix has is not needed to import the library, nor to lead."""
    done = subprocess.run(
        [sys.executable, "-c", _FOREIGN, lack, str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
