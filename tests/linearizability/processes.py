"""The processes of a workload."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.linearizability.records import read_records
from tests.linearizability.stages import Stage
from tests.scenarios.fleet import ROOT, await_true
from tests.servers.process import Process

__all__ = ["Processes"]

_END = 15.0  # seconds for a process to end what it is at


class Processes:
    """As many as the stage has ways; one that is killed is replaced.

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
        """Start one for each way."""
        for number in range(len(self._stage.ways)):
            self.running.append(self._start(number))

    def await_answers(self, *kinds: str, seconds: float = 60.0) -> None:
        """Wait until there is an answer of each kind, such as ``put done``, and one to each process.

        However busy the machine is; fails after that many seconds.
        """
        await_true("each process has an answer", self._all_answered, seconds)
        wanted = set(kinds)
        await_true(
            f"there are answers of all kinds: {', '.join(kinds)}",
            lambda: not wanted - self._kinds(),
            seconds,
        )

    def _all_answered(self) -> bool:
        done = {one["who"] for one in read_records(self._folder) if one["return"]}
        return done >= set(self._names)

    def _kinds(self) -> set[str]:
        records = read_records(self._folder)
        return {f"{one['op']} {one['outcome']}" for one in records if one["return"]}

    def replace(self, number: int) -> None:
        """Kill one and start another."""
        self.running[number].kill()
        self.running[number] = self._start(number)

    def stop(self) -> list[str]:
        """Let them end; returns what those said that did not end well."""
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
        """Kill all that run."""
        for one in self.running:
            one.kill()

    def _start(self, number: int) -> Process:
        self._started += 1
        who = self._names[number] = f"p{self._started}"
        url, _ = self._stage.ways[number]
        words = [url, who, str(self._folder / f"{who}.jsonl"), "--ttl", str(self._stage.times.ttl)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = Process(
            [sys.executable, "-m", "tests.linearizability.worker", *words],
            self._folder / f"{who}.log",
            {"PYTHONPATH": path},
        )
        process.start()
        return process
