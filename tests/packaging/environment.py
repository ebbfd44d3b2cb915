"""Virtual environments that a test may install into."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["ROOT", "Environment", "build"]

ROOT = Path(__file__).parents[2]
LIMIT = 120
"""Seconds for one command: an interpreter with pip in it takes many of them on a busy machine."""


def build(target: str, folder: Path, into: Path) -> Path:
    """Build a wheel or an sdist of a folder, with the installed tools."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=LIMIT)
    (made,) = into.iterdir()
    return made


class Environment:
    """A virtual environment on top of that of the test run.

    It has no pip: the pip of the test run installs into it, with the installed build tools.

    Args:
        folder: of the environment.
        sees_ours: False for an empty one.
    """

    def __init__(self, folder: Path, *, sees_ours: bool = True) -> None:
        self.python = folder / "bin" / "python"
        make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(make, check=True, timeout=LIMIT)
        self.site = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # addsitedir and not the path alone, so that editable installs are seen as well.
        ours = sysconfig.get_path("purelib")
        if sees_ours:
            (self.site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")

    def install(self, *what: str) -> None:
        """Install distributions from folders or wheels, without their dependencies."""
        self._pip("install", "--no-deps", "--no-build-isolation", "--no-index", *what)

    def install_all(self, *what: str) -> None:
        """Install distributions with dependencies, which the test run's environment must have."""
        self._pip("install", "--no-build-isolation", "--no-index", *what)

    def frozen(self) -> list[str]:
        """The lines of `pip freeze`, without the packages of the test run's environment."""
        return self._pip("freeze", "--path", str(self.site)).splitlines()

    def fetch(self, *what: str) -> None:
        """Install distributions from the package registry, without their dependencies."""
        self._pip("install", "--no-deps", "--disable-pip-version-check", *what, seconds=150)

    def remove(self, *what: str) -> None:
        """Uninstall distributions."""
        self._pip("uninstall", "-y", *what)

    def run(self, script: str) -> str:
        """Run a script in it, in a folder without modules."""
        done = subprocess.run(
            [str(self.python), "-c", script],
            cwd=self.python.parent,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _pip(self, *words: str, seconds: float = LIMIT) -> str:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "--quiet", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
