"""Candidates in processes of their own, and all that they have said."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .. import clock
from ..errors import LeadershipError
from .arguments import ENVIRONMENT_URL
from .interrupts import undisturbed

__all__ = ["Line", "NotSeen", "Troupe"]

_END_SECONDS = 5.0

# -P: `-m` or `-c` alone would put the working folder first, and a pluggy.py that lies there would be
# run with the store's password in its environment. This package may have been found through a
# folder that is on the path of this process only; last, it takes precedence over nothing.
_PROGRAM = f"""\
import sys
sys.path.append({str(Path(__file__).parents[2])!r})
from {__package__}.actor import main
main(*sys.argv[1:])
"""


class NotSeen(LeadershipError):
    """Something that should have happened did not."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that a candidate said; `at` is the boot clock's time."""

    name: str
    said: dict[str, Any]

    @property
    def at(self) -> float:
        return float(self.said["at"])

    def is_event(self, event: str) -> bool:
        """Whether it is this event of `leadership elect`."""
        return bool(self.said.get("event") == event)


@dataclass(slots=True)
class _Process:
    process: subprocess.Popen[bytes]
    complaints: list[str] = field(default_factory=list)
    listener: threading.Thread | None = None


class Troupe:
    """Starts candidates, listens to them, and ends them, whatever happens, when it is left.

    Args:
        url: of the store, with its secrets; it is handed on where `ps` does not show it.
        key: the election.
        ttl: of the candidates, in seconds.
    """

    def __init__(self, url: str, key: str, ttl: float) -> None:
        self._url, self._key, self._ttl = url, key, ttl
        self._processes: dict[str, _Process] = {}
        self._expected_to_end: set[str] = set()
        self._heard = threading.Condition()
        self.lines: list[Line] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            self.end()

    def start(self, name: str) -> None:
        """Start a candidate of this name."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, self._key, name, str(self._ttl)],
            stdin=subprocess.PIPE,  # its end tells the candidate that it is alone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, ENVIRONMENT_URL: self._url},
            process_group=0,  # Ctrl-C is for this process, which ends them in order
        )
        one = self._processes[name] = _Process(process)
        one.listener = threading.Thread(target=self._listen, args=(name,), daemon=True)
        one.listener.start()

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send a signal; returns the boot clock's time of that."""
        if number == signal.SIGKILL:
            self._expected_to_end.add(name)
        now = clock.now()
        self._processes[name].process.send_signal(number)
        return now

    def wait(
        self, what: str, seconds: float, wanted: Callable[[Line], bool], *, since: int = 0
    ) -> Line:
        """Return the first line that is wanted, of those from the number `since` on.

        Raises:
            NotSeen: there was none within that time; says what.
        """
        until = clock.now() + seconds
        with self._heard:
            while True:
                for line in self.lines[since:]:
                    if wanted(line):
                        return line
                self._check_alive()
                left = until - clock.now()
                if left <= 0:
                    raise NotSeen(f"this did not happen within {seconds:.1f} s: {what}")
                self._heard.wait(left)

    def end(self) -> bool:
        """End them all, those that are paused, too; False if one did not end by itself."""
        running = [name for name in self._processes if self._running(name)]
        self._expected_to_end.update(running)
        for name in running:
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    self._processes[name].process.send_signal(number)
        until = clock.now() + _END_SECONDS
        codes = [self._end(self._processes[name].process, until) for name in running]
        for one in self._processes.values():
            self._close(one)
        return all(code == 0 for code in codes)

    @staticmethod
    def _end(process: subprocess.Popen[bytes], until: float) -> int:
        try:
            return process.wait(max(0.0, until - clock.now()))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    @staticmethod
    def _close(one: _Process) -> None:
        """It has ended: hear the rest of what it said."""
        if one.listener is not None:
            one.listener.join(1.0)
        for pipe in (one.process.stdin, one.process.stdout):
            if pipe is not None:
                pipe.close()

    def _running(self, name: str) -> bool:
        return self._processes[name].process.poll() is None

    def _check_alive(self) -> None:
        for name, one in self._processes.items():
            if name not in self._expected_to_end and not self._running(name):
                why = "; ".join(one.complaints[-3:]) or f"exit code {one.process.returncode}"
                raise NotSeen(f"{name} should have gone on, and ended: {why}")

    def _listen(self, name: str) -> None:
        one = self._processes[name]
        assert one.process.stdout is not None
        for text in one.process.stdout:
            line = text.decode("utf-8", "replace").strip()
            with self._heard:
                if line.startswith("{"):
                    self.lines.append(Line(name, json.loads(line)))
                else:
                    one.complaints.append(line)
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()
