"""The processes of a workload."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from tests.support.paths import python_path
from tests.support.servers.process import Process
from tests.support.waiting import wait_until
from tests.system.linearizability.records import read_records
from tests.system.linearizability.stages import Stage

__all__ = ["Processes"]

_END = 15.0  # seconds for a process to end what it is at


class Processes:
    """One process for each link of the stage; a killed one is replaced.

    Attributes:
        running: those of now.

    Args:
        stage: the store.
        folder: for what they write down.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.running: list[Process] = []
        self._stage, self._folder = stage, folder
        self._started = 0
        self._names = [""] * len(stage.ways)

    def start(self) -> None:
        """Start one process for each link."""
        for number in range(len(self._stage.ways)):
            self.running.append(self._start(number))

    def await_answers(self, *kinds: str, seconds: float = 60.0) -> None:
        """Wait for an answer of each kind, such as ``put done``, and one to each process.

        However busy the machine is; fails after that many seconds.
        """
        wait_until(self._all_answered, seconds, "each process has an answer")
        wanted = set(kinds)
        wait_until(
            lambda: not wanted - self._kinds(),
            seconds,
            f"there are answers of all kinds: {', '.join(kinds)}",
        )

    def _all_answered(self) -> bool:
        done = {one["who"] for one in read_records(self._folder) if one["return"]}
        return done >= set(self._names)

    def _kinds(self) -> set[str]:
        records = read_records(self._folder)
        return {f"{one['op']} {one['outcome']}" for one in records if one["return"]}

    def replace(self, number: int) -> None:
        """Kill one process and start another."""
        self.running[number].kill()
        self.running[number] = self._start(number)

    def stop(self) -> list[str]:
        """Stop all processes; returns the output of those that failed."""
        for one in self.running:
            one.send(signal.SIGTERM)
        problems = []
        until = time.monotonic() + _END
        for one in self.running:
            code = one.wait(max(0.1, until - time.monotonic()))
            if code != 0:
                problems.append(f"ended with {code}: {one.tail(10)}")
        return problems

    def kill(self) -> None:
        """Kill all running processes."""
        for one in self.running:
            one.kill()

    def _start(self, number: int) -> Process:
        self._started += 1
        who = self._names[number] = f"p{self._started}"
        url, _ = self._stage.ways[number]
        words = [url, who, str(self._folder / f"{who}.jsonl"), "--ttl", str(self._stage.times.ttl)]
        process = Process(
            [sys.executable, "-m", "tests.system.linearizability.worker", *words],
            self._folder / f"{who}.log",
            python_path(),
        )
        process.start()
        return process
