"""Processes of the command `leadership`, with their output and exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import at_most
from tests.unit.cli.fork_server import ForkServer

ROOT = Path(__file__).parents[3]
SERVER = ForkServer()

_OF_PYTHON = ("PYTHON", "LC_", "LANG")  # read when an interpreter starts, and not later


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment, with the working tree first and without the URL of the user's shell."""
    mine = {name: value for name, value in os.environ.items() if name != "LEADERSHIP_URL"}
    return {**mine, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(extra or {})}


@dataclass(frozen=True)
class Done:
    """The result of a command; `seconds` is how long it took."""

    code: int
    out: str
    err: str
    seconds: float


def run(
    *words: str | bytes,
    extra: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60.0,
) -> Done:
    """Run `leadership` with these words to its end, in a fork of a running interpreter."""
    if not any(name.startswith(_OF_PYTHON) for name in extra or ()):
        typed = [os.fsdecode(word) for word in words]
        return Done(*SERVER.run(typed, environment(extra), str(cwd or ROOT), timeout))
    begun = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "leadership_core.cli", *words],
        env=environment(extra),
        cwd=cwd,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Done(
        process.returncode,
        process.stdout.decode("utf-8", "surrogateescape"),
        process.stderr.decode("utf-8", "surrogateescape"),
        time.monotonic() - begun,
    )


@dataclass(frozen=True)
class Line:
    """A JSON object that a command printed, and when it was read here."""

    said: dict[str, Any]
    at: float

    @property
    def event(self) -> str:
        return str(self.said.get("event"))


class Running:
    """A process of a command that prints JSON."""

    def __init__(self, argv: list[str], cwd: Path) -> None:
        self.lines: list[Line] = []
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            argv,
            env=environment(),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def events(self) -> list[str]:
        """The names of all events until now."""
        return [line.event for line in self.lines]

    def wait(
        self, wanted: Callable[[Line], bool], seconds: float = 10.0, *, since: int = 0
    ) -> Line:
        """Return the first line that matches; the test fails if it does not come in time."""
        until = time.monotonic() + at_most(seconds)
        with self._heard:
            while True:
                for line in self.lines[since:]:
                    if wanted(line):
                        return line
                left = until - time.monotonic()
                assert left > 0, f"not in {seconds} s; it said {[one.said for one in self.lines]}"
                self._heard.wait(left)

    def wait_event(self, event: str, seconds: float = 10.0, *, since: int = 0) -> Line:
        """Return the first event of this name."""
        return self.wait(lambda line: line.event == event, seconds, since=since)

    def send(self, number: signal.Signals) -> float:
        """Send a signal; returns the time before it."""
        now = time.monotonic()
        self.process.send_signal(number)
        return now

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> Done:
        """End it with a signal, and return its result."""
        begun = self.send(number)
        code = self.process.wait(at_most(seconds))
        self._listener.join(5.0)
        assert self.process.stderr is not None
        err = self.process.stderr.read().decode("utf-8", "surrogateescape")
        out = "".join(json.dumps(line.said) + "\n" for line in self.lines)
        return Done(code, out, err, time.monotonic() - begun)

    def remove(self) -> None:
        """Kill it, whatever its state."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._listener.join(5.0)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._heard:
                self.lines.append(Line(json.loads(text), time.monotonic()))
                self._heard.notify_all()


Start = Callable[..., Running]


@contextlib.contextmanager
def starter(cwd: Path) -> Iterator[Start]:
    """Starts `leadership`, or a script of these tests; the processes end with the test."""
    with ExitStack() as stack:

        def start(*words: str, script: Path | None = None) -> Running:
            program = [str(script)] if script else ["-m", "leadership_core.cli"]
            running = Running([sys.executable, *program, *words], cwd)
            stack.callback(running.remove)
            return running

        yield start


def first_elected(candidates: list[Running], seconds: float = 10.0) -> Running:
    """Return the first candidate that prints elected."""
    until = time.monotonic() + at_most(seconds)
    while time.monotonic() < until:
        for candidate in candidates:
            if "elected" in candidate.events:
                return candidate
        time.sleep(0.002)
    raise AssertionError(
        f"no candidate was elected: {[candidate.events for candidate in candidates]}"
    )
