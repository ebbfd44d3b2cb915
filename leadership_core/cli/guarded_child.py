"""Child process behind its guard: the side of `leadership run`; see `child_guard` for the other one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self

from . import child_guard
from .end_times import EndTimes
from .supervisor import (
    ChildEnded,
    ChildExpiring,
    ChildFailed,
    ChildRefused,
    ChildStarted,
    ChildStopped,
    GuardLost,
    Message,
)

__all__ = ["GuardedChild"]

_LATE = 5.0  # seconds after the end of the grace within which the guard must have reported
_ROUND = 0.02  # seconds between two rounds of SIGKILL


class GuardedChild:
    """Runs one command after the other, each in a process group of its own, below one guard.

    Use it in the main thread: the kernel tells the guard when the thread that has started it ends.
    As a context manager it ends at its exit only after everything that was started has ended.

    Args:
        command: the command, to be found on PATH.
        environment: its environment, but for the token.
        grace: seconds for what the command leaves behind, once it has ended by itself.
        ignored: signals that it ignores.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        grace: float,
        ignored: set[int],
    ) -> None:
        self._command, self._environment = command, environment
        self._grace, self._ignored = grace, ignored
        self._guard: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._received = b""
        self._due = 0.0  # when the guard must have reported the end; 0.0: no child
        self._asked_due = 0.0  # the same, because the child was asked to end
        self._is_subreaper = child_guard.become_subreaper()
        self.pid: int = 0  # of the command, which is its group's, too; 0 while there is none

    def __enter__(self) -> Self:
        self._start_guard()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        if self._guard is not None:
            self._guard.send_signal(signal.SIGCONT)  # a stopped one would not end
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(_LATE)
            self._guard.kill()
            self._guard.wait()
        while not self.are_orphans_gone():
            time.sleep(_ROUND)

    # -- what is to be done ------------------------------------------------------------------

    def start(self, token: int, times: EndTimes, *, foreground: bool) -> None:
        """Start the command.

        Args:
            token: the fencing token of the term.
            times: when it is ended unless the lease is renewed.
            foreground: whether it gets the terminal.

        Raises:
            OSError: the guard had to be started again, and could not be.
        """
        if self._connection is None:
            if self._guard is not None:
                self._guard.wait()
            self._start_guard()
        self._due, self._asked_due = times.deadline, 0.0
        self._send("start", token, times.terminate_at, times.kill_at, int(foreground))

    def renew(self, times: EndTimes) -> None:
        """Move on the times at which the child is ended."""
        if self._due:
            self._due = times.deadline
            self._send("lease", times.terminate_at, times.kill_at)

    def end(self, number: int, grace: float) -> None:
        """Send a signal to the child's group, and kill it so many seconds later, with all others."""
        self._asked_due = child_guard.boot_time() + grace + _LATE
        self._send("end", number, grace)

    def forward(self, number: int) -> None:
        """Send a signal to the child's group."""
        self._send("signal", number)

    # -- what has happened -------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor that is ready when there is something to `read`; -1 without a guard."""
        return -1 if self._connection is None else self._connection.fileno()

    def read(self) -> list[Message]:
        """Return what the guard has reported since; does not block."""
        if self._connection is None:
            return []
        try:
            data = self._connection.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return []
        *lines, self._received = (self._received + data).split(b"\n")
        return [self._message(line.decode().split()) for line in lines]

    def check_guard(self) -> None:
        """Kill a guard that should have ended the child by now: it is stopped, or hangs.

        The kernel then kills the command.
        """
        due = min(self._due, self._asked_due or self._due)
        if due and child_guard.boot_time() >= due and self._guard is not None:
            self._guard.kill()

    def are_orphans_gone(self) -> bool:
        """Kill what a guard that has ended has left; True once nothing is left of it."""
        if self._guard is None or self._guard.poll() == 0:
            return True  # it ends so only after everything else has
        if self._guard.returncode is None:
            return False
        if not self._is_subreaper:
            if self.pid:
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            return True
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            child_guard.kill_children()
            return False
        return True

    def take_loss(self) -> list[Message]:
        """Return `GuardLost` once, when the guard has ended and nothing is left of the child."""
        if self._connection is not None or not self._due or not self.are_orphans_gone():
            return []
        self._due = self.pid = 0
        return [GuardLost()]

    # -- the guard ---------------------------------------------------------------------------

    def _start_guard(self) -> None:
        mine, theirs = socket.socketpair()
        with theirs:
            self._guard = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", child_guard.__file__, str(theirs.fileno())),
                    *(str(self._grace), ",".join(map(str, sorted(self._ignored)))),
                    *(str(os.getpid()), *self._command),
                ],
                env=self._environment,
                pass_fds=[theirs.fileno()],
                process_group=0,  # what is meant for this process or its terminal is not for it
            )
        mine.settimeout(0.0)
        self._connection, self._received = mine, b""

    def _send(self, *words: object) -> None:
        if self._connection is None:
            return
        try:
            self._connection.sendall(" ".join(map(str, words)).encode() + b"\n")
        except BlockingIOError:
            # It has read nothing for minutes, so it is stopped. Half a line may have been sent.
            if self._guard is not None:
                self._guard.kill()
        except OSError:
            pass  # it has ended, as the next read shows

    def _message(self, words: list[str]) -> Message:
        match words:
            case ["started", pid]:
                self.pid = int(pid)
                return ChildStarted(self.pid)
            case ["refused"]:
                self._forget()
                return ChildRefused()
            case ["failed", step, number]:
                self._forget()
                return ChildFailed(step, int(number))
            case ["expiring"]:
                return ChildExpiring()
            case ["stopped", number]:
                return ChildStopped(int(number))
            case ["ended", code, was_asked]:
                self._forget()
                return ChildEnded(int(code), was_asked == "1")
            case _:
                raise ValueError(f"the guard has reported {words}")

    def _forget(self) -> None:
        self._due, self.pid = 0.0, 0

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
