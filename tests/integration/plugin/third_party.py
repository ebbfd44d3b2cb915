"""Environment of a third party: a folder with a plugin installed, and commands run in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.packaging.environment import Environment

__all__ = ["Command", "ThirdParty"]


class Command:
    """A running command that prints events as JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def await_event(self, name: str) -> None:
        """Read its output until it prints this event."""
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if line.startswith("{") and json.loads(line).get("event") == name:
                return
        pytest.fail(f"it never said {name}: {said}")


class ThirdParty:
    """A folder with an environment in it.

    Args:
        folder: where commands run; it is theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = Environment(folder / "venv")

    def install(self, *what: str) -> None:
        """Install distributions with pip, without their dependencies."""
        self._environment.install(*what)

    def run(self, *words: str, seconds: float = 30, **environment: str) -> str:
        """Run a command of the environment, which must succeed; returns its output."""
        with self._process(words, environment) as process:
            said, _ = process.communicate(timeout=seconds)
        assert process.returncode == 0, said
        return said

    @contextmanager
    def started(self, *words: str, **environment: str) -> Iterator[Command]:
        """Start a command of the environment, which is ended at the end of the block."""
        with self._process(words, environment) as process:
            yield Command(process)

    @contextmanager
    def _process(
        self, words: tuple[str, ...], environment: dict[str, str]
    ) -> Iterator[subprocess.Popen[str]]:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            [str(self._environment.python.parent / words[0]), *words[1:]],
            cwd=self.folder,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
