"""Fixtures: Prometheus, its tool, and programs that it scrapes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.prometheus import PrometheusServer
from tests.support.servers.requirements import found
from tests.support.waiting import at_most

RULES = ROOT / "examples" / "monitoring" / "alerts.yml"

Promtool = Callable[..., str]


@pytest.fixture
def promtool() -> Promtool:
    """Run promtool, and return what it prints; fails the test if it fails."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [found("prometheus").paths["promtool"], *words],
            capture_output=True, text=True, timeout=at_most(30), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


class Programs:
    """Programs that campaign and serve metrics, by the names that Prometheus has for them.

    Attributes:
        ports: of their metrics.
        processes: the programs.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.ports: dict[str, int] = {}
        self.processes: dict[str, Process] = {}
        self._folder = folder
        self._stack = stack

    def start(self, name: str, *candidates: tuple[str, str, float, str]) -> None:
        """Start one; it is killed at the end of the test.

        Args:
            name: the `instance` of its metrics.
            candidates: the URL, the key, the ttl and the behaviour of each.
        """
        self.ports[name] = free_port()
        module = "tests.integration.observers.leader_program"
        words = [str(word) for candidate in candidates for word in candidate]
        command = [sys.executable, "-m", module, str(self.ports[name]), *words]
        environment = {"PYTHONPATH": str(ROOT)}
        process = Process(command, self._folder / f"{name}.log", environment)
        self._stack.callback(process.kill)
        process.start()
        self.processes[name] = process


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Start programs for this test."""
    with ExitStack() as stack:
        yield Programs(tmp_path, stack)


Prometheus = Callable[[Path, Programs], PrometheusServer]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """Start a Prometheus that scrapes the programs and evaluates a file of rules."""
    with ExitStack() as stack:

        def start(rules: Path, programs: Programs) -> PrometheusServer:
            folder = tmp_path / "prometheus"
            server = PrometheusServer(found("prometheus"), folder, rules, programs.ports)
            stack.callback(server.remove)
            server.start()
            return server

        yield start
