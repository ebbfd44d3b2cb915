"""Types of the public names, for users of mypy and of pyright."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, Follower, Lock, Store, Term

# Both checkers read the packages from the beginning, without a cache.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("typed_program.py")
DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("leadership_*/pyproject.toml"))


def pyright(*words: str | Path, folder: Path) -> Any:
    """Run pyright in a folder without a project, and return what it reports."""
    # For --verifytypes it takes the packages of the first Python on PATH, whatever --pythonpath says.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", *words],
        env={**os.environ, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_program_uses_every_public_name() -> None:
    """All names of the packages for programs, and all methods of the classes that they get."""
    tree = ast.parse(PROGRAM.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    dotted = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }

    core = import_module("leadership_core")
    assert set(core.__all__) - names == set()
    for package in ("aio", "observers", "status", "testing"):
        module = import_module(f"leadership_core.{package}")
        assert {f"{package}.{name}" for name in module.__all__} - dotted == set()
    for distribution in set(DISTRIBUTIONS) - {"leadership_core"}:
        module = import_module(distribution)
        assert {f"{distribution}.{name}" for name in module.__all__} - dotted == set()
    for kind in (Candidate, Follower, Lock, Store, Term):
        assert {name for name in dir(kind) if not name.startswith("_")} - attributes == set(), kind


def test_program_passes_mypy(tmp_path: Path) -> None:
    """In strict mode; a name that does not exist is reported, although packages load names lazily."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from leadership_core import NoSuchName\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, PROGRAM, wrong], cwd=ROOT, capture_output=True, text=True, check=False
    )

    (error,) = (line for line in done.stdout.splitlines() if "error:" in line)
    assert error.startswith(str(wrong)), done.stdout
    assert 'has no attribute "NoSuchName"' in error


def test_program_passes_pyright(tmp_path: Path) -> None:
    """In strict mode; a name that does not exist is reported, although packages load names lazily."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from leadership_core import NoSuchName\n")

    report = pyright(PROGRAM, wrong, "--pythonpath", sys.executable, folder=tmp_path)
    found = [(Path(one["file"]).name, one["message"]) for one in report["generalDiagnostics"]]

    assert [(file, message) for file, message in found if file == PROGRAM.name] == []
    assert [file for file, message in found if "NoSuchName" in message] == [wrong.name]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_public_names_have_known_types(distribution: str, tmp_path: Path) -> None:
    """The measure of pyright for a package with `py.typed` is 100 %."""
    report = pyright("--verifytypes", distribution, "--ignoreexternal", folder=tmp_path)
    completeness = report["typeCompleteness"]
    unknown = [
        f"{symbol['name']}: {one['message']}"
        for symbol in completeness["symbols"]
        for one in symbol["diagnostics"]
        if one["severity"] == "error"
    ]

    assert (completeness["completenessScore"], unknown) == (1, [])
