"""A server process that a test starts, stops, freezes and kills."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from weakref import WeakSet

from tests.support.waiting import Limit

__all__ = ["Process", "ServerError"]


class ServerError(Exception):
    """A server did not start, or not in time; the message has the end of its log."""


@functools.cache
def _dies_with_us() -> tuple[str, ...]:
    """The words before a command that make the kernel kill it at the end of this process."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    shown = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False)
    return (setpriv, "--pdeathsig", "KILL") if "--pdeathsig" in shown.stdout else ()


class Process:
    """A command whose output goes to a file; it can be started repeatedly.

    Start it from a thread that lives on: where the kernel ends it with us, "us" is that thread.

    Attributes:
        log: what it prints.
        actions: what was done to it, and when, in nanoseconds of the boot clock.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.command = tuple(command)
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self.actions: list[tuple[int, str]] = []
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def running(cls) -> set[int]:
        """Return the ids of all processes that were started and have not ended."""
        return {one.pid for one in tuple(_started) if one.alive}

    @property
    def pid(self) -> int:
        """The process id; raises if it was never started."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def frozen(self) -> bool:
        """Whether it is stopped, as by SIGSTOP: all of its threads."""
        return self.alive and _is_stopped(self.pid)

    def start(self) -> None:
        """Start it; it must not be running."""
        if self.alive:
            raise ServerError(f"{self.command[0]} is running already")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*_dies_with_us(), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
            )
        _started.add(self)
        self._tell("started")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; does nothing if it has ended, and raises if it was never started."""
        self._running().send_signal(number)
        self._tell(number.name)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Poll `ready` until it is true.

        Raises:
            ServerError: it is not within that many seconds of an idle machine, or the process has
                ended.
        """
        limit = Limit(seconds)
        while not ready():
            if not self.alive:
                raise ServerError(f"{self._name} ended with {self._code()}:\n{self.tail()}")
            if limit.is_over():
                raise ServerError(f"{self._name} is not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.02)

    def wait(self, seconds: float) -> int:
        """Wait for its end, and return its exit code."""
        return self._running().wait(seconds)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its sockets stay open, and nothing is answered."""
        child = self._running()
        self.send(signal.SIGSTOP)
        # Each of its threads goes on until the kernel comes to it.
        deadline = time.monotonic() + 5
        while not _is_stopped(child.pid) and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.send(signal.SIGCONT)

    def terminate(self, seconds: float = 10.0) -> None:
        """End it with SIGTERM, and with SIGKILL if that takes too long."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """Kill it (SIGKILL), frozen or not; returns when it has ended."""
        self._end(signal.SIGKILL, 10.0)

    def tail(self, lines: int = 30) -> str:
        """The end of its output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(it has printed nothing)"

    def _end(self, how: signal.Signals, seconds: float) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        self.send(how)
        child.send_signal(signal.SIGCONT)  # a frozen process takes no SIGTERM
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ServerError(f"{self._name} has not been started")
        return self._child

    def _tell(self, what: str) -> None:
        self.actions.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME), what))

    def _code(self) -> int | None:
        return self._child.returncode if self._child else None

    @property
    def _name(self) -> str:
        return Path(self.command[0]).name


_started: WeakSet[Process] = WeakSet()


def _is_stopped(pid: int) -> bool:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        states = {(one / "stat").read_text().rpartition(")")[2].split()[0] for one in threads}
    except OSError:
        return True  # it has ended, or this is no Linux
    return states <= {"T", "t"}
