"""Child processes that print one line per event, and the one loop that reads them all.

All times are of CLOCK_MONOTONIC, which the processes of one machine share. A line gets the time at
which it was read, whichever program printed it, so that all contenders are measured alike.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Self

__all__ = ["Child", "Children"]

_END_SECONDS = 5.0
"""For which a child may clean up before it is killed."""


class Child:
    """A process that is sent lines, and whose lines are read.

    Args:
        command: its words.
        on_line: called with each line of its output, and the time at which it was read.
        on_end: called when it has ended.
        environment: variables beside those of this process.
        first_line: written to it at once; may hold a password, which the command line must not.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[str, float], object],
        on_end: Callable[[], object] = lambda: None,
        *,
        environment: dict[str, str] | None = None,
        first_line: str = "",
    ) -> None:
        self.on_line: Callable[[str, float], object] = on_line
        self.on_end: Callable[[], object] = on_end
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._rest, self._final_error = b"", ""
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C goes to this process, which ends them in order
        )
        if first_line:
            self.send(first_line)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def fileno(self) -> int:
        """The descriptor of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, line: str) -> None:
        """Write a line to it; does nothing if it has ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; does nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def read(self) -> bool:
        """Read what there is and report its lines; False at the end of its output."""
        data = os.read(self.fileno(), 65536)
        at = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.on_line(line.decode("utf-8", "replace"), at)
        return bool(data)

    def errors(self) -> str:
        """The last line that it has written to stderr."""
        return self._final_error or self._last_error()

    def _last_error(self) -> str:
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode("utf-8", "replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def begin_end(self) -> None:
        """Ask it to end: its input ends, and it gets SIGTERM."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.signal(signal.SIGTERM)

    def end(self, until: float) -> None:
        """Wait for its end, and kill it at that time; with it its own children."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, until - time.monotonic()))
        with contextlib.suppress(
            OSError
        ):  # also what it has left behind, such as a child of its own
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._final_error = self._last_error()
        self._errors.close()


class Children:
    """Child processes of a run; ends them at its end, whatever happens.

    Args:
        is_ending: says whether the run is ending: then `wait` raises `KeyboardInterrupt`.
    """

    def __init__(self, is_ending: Callable[[], bool] = lambda: False) -> None:
        self._is_ending = is_ending
        self._selector = selectors.DefaultSelector()
        self._all: set[Child] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(tuple(self._all))
        self._selector.close()

    def add(self, child: Child) -> Child:
        """Read this child from now on."""
        self._all.add(child)
        self._selector.register(child, selectors.EVENT_READ)
        return child

    def end(self, children: Iterable[Child], seconds: float = _END_SECONDS) -> None:
        """End these children: they may clean up for that long, all at the same time."""
        mine = [child for child in children if child in self._all]
        for child in mine:
            self._forget(child)
            child.begin_end()
        until = time.monotonic() + seconds
        for child in mine:
            child.end(until)

    def kill(self, child: Child) -> float:
        """Kill it (SIGKILL), and return the time of that."""
        self._forget(child)
        at = time.monotonic()
        child.signal(signal.SIGKILL)
        child.end(at)
        return at

    def run_for(self, seconds: float) -> None:
        """Read for that many seconds."""
        self.wait(lambda: False, seconds)

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Read until `done` returns true; False if that takes longer than so many seconds."""
        until = time.monotonic() + seconds
        while not done():
            rest = until - time.monotonic()
            if rest <= 0:
                return False
            if self._is_ending():
                raise KeyboardInterrupt
            for key, _ in self._selector.select(min(rest, 0.5)):
                child = key.fileobj
                if isinstance(child, Child) and child in self._all and not child.read():
                    self._forget(child)
                    child.end(time.monotonic() + 1.0)
                    child.on_end()
        return True

    def _forget(self, child: Child) -> None:
        if child in self._all:
            self._all.remove(child)
            self._selector.unregister(child)
