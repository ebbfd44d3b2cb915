"""Guard of a child process: the program between `leadership run` and the command that it runs.

    leadership run ── guard ── command ── the command's own children

The guard starts the command in a process group of its own, and ends it, with everything that it has
started,

* when `leadership run` says so;
* at a time of the boot clock that `leadership run` moves on with each renewal of its lease: so also
  when `leadership run` is stopped or hangs;
* at once when `leadership run` has gone, however it has ended.

It is a program of its own, which is started by its file and imports nothing of this package: a process
with one thread may fork, and the kernel's parent-death signal means the end of a thread. Should the
guard itself be killed, the kernel kills the command, and `leadership run` ends what is left.

On Linux all descendants of the command are found: those that have lost their parent become children of
the guard, even if they have left the process group (`setsid`). Elsewhere the process group is ended.

Both sides send lines of words over a socket:

    start TOKEN TERMINATE_AT KILL_AT FOREGROUND    started PID
    lease TERMINATE_AT KILL_AT                     failed STEP ERRNO    the command was not started
    end SIGNAL GRACE                               refused              it is too late to start it
    signal NUMBER                                  expiring             asked to end: no renewal in time
                                                   stopped SIGNAL       by job control
                                                   ended CODE ASKED      nothing of it is left
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

__all__ = ["EndSchedule", "become_subreaper", "boot_time", "kill_children", "main"]

_LONGEST_SLEEP = 0.25  # seconds: sleep does not count the time while the machine is suspended
_ROUND = 0.03  # seconds between two looks for orphans
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IGNORED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGPIPE),
)
"""Signals that the guard ignores: `leadership run` decides what they mean."""


def boot_time() -> float:
    """Return the seconds of the machine's boot clock, as `leadership_core.backend.clock` does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True)
class EndSchedule:
    """When a command is asked to end, and when it is killed; all times are of the boot clock.

    Attributes:
        terminate_at: when it is asked to end, unless the lease is renewed before.
        kill_at: when it is killed, unless the lease is renewed before.
        is_asked: it was asked to end.
        asked_kill_at: when it is killed because it was asked to end.
    """

    terminate_at: float
    kill_at: float
    is_asked: bool = False
    asked_kill_at: float = inf

    def renew(self, terminate_at: float, kill_at: float) -> None:
        """Move the two times on; a command that was asked to end remains so."""
        self.terminate_at, self.kill_at = terminate_at, kill_at

    def tell(self, now: float, grace: float) -> None:
        """Note that it was asked to end at this time, and has so many seconds left."""
        self.is_asked = True
        self.asked_kill_at = min(self.asked_kill_at, now + grace)

    def must_be_asked(self, now: float) -> bool:
        """Whether it must be asked to end now, because the lease has not been renewed."""
        return not self.is_asked and now >= self.terminate_at

    def must_be_killed(self, now: float) -> bool:
        """Whether it must be killed now."""
        return now >= min(self.kill_at, self.asked_kill_at)

    def next_at(self) -> float:
        """The time of the next of the two."""
        return min(inf if self.is_asked else self.terminate_at, self.kill_at, self.asked_kill_at)


@dataclass(slots=True)
class _Child:
    pid: int
    schedule: EndSchedule
    starting: int  # a descriptor that closes when the command runs; -1 afterwards
    code: int | None = None
    failure: str = ""  # step and number of the error with which it could not be started
    asked: set[int] = field(default_factory=set)  # orphans that were asked to end
    ended_by_itself: bool = False


class _Guard:
    def __init__(
        self, connection: socket.socket, grace: float, command: Sequence[str], ignored: set[int]
    ) -> None:
        self._connection, self._grace = connection, grace
        self._command, self._ignored = command, ignored
        self._child: _Child | None = None
        self._received, self._unsent = b"", b""
        self._parent_gone = False
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        connection.settimeout(0.0)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._finds_orphans = become_subreaper()

    def run(self) -> None:
        """Serve until the other side has gone, and nothing of the command is left."""
        while not (self._parent_gone and self._child is None):
            self._wait()
            self._collect()
            self._enforce()
            self._send()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if not self._parent_gone:
            wanted = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            poll.register(self._connection, wanted)
        child = self._child
        seconds = None
        if child is not None:
            if child.starting >= 0:
                poll.register(child.starting, select.POLLIN)
            left = child.schedule.next_at() - boot_time()
            seconds = min(_LONGEST_SLEEP, left if left > 0 else _ROUND)
            if child.code is not None:
                seconds = _ROUND  # no signal reports that a process has become an orphan
        ready = {one for one, _ in poll.poll(None if seconds is None else seconds * 1000)}
        if self._wakeup in ready:
            os.read(self._wakeup, 512)
        if child is not None and child.starting in ready:
            self._note_start(child)
        if self._connection.fileno() in ready:
            self._receive()

    # -- the other side ----------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            data = self._connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._parent_gone = True
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._obey(line.decode().split())

    def _obey(self, words: list[str]) -> None:
        child = self._child
        match words:
            case ["start", token, terminate_at, kill_at, foreground] if child is None:
                schedule = EndSchedule(float(terminate_at), float(kill_at))
                if boot_time() >= schedule.terminate_at:
                    self._report("refused")
                else:
                    self._start(token, schedule, foreground=foreground == "1")
            case ["lease", terminate_at, kill_at] if child is not None:
                child.schedule.renew(float(terminate_at), float(kill_at))
            case ["end", number, grace] if child is not None:
                self._tell(child, int(number), float(grace))
            case ["signal", number] if child is not None and child.code is None:
                _signal_group(child.pid, int(number))
            case _:
                pass  # the command has ended meanwhile

    def _report(self, *words: object) -> None:
        self._unsent += " ".join(map(str, words)).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # full; or closed, as the next `recv` shows
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]

    # -- the command -------------------------------------------------------------------------

    def _start(self, token: str, schedule: EndSchedule, *, foreground: bool) -> None:
        environment = {**os.environ, "LEADERSHIP_TOKEN": token}
        guard = os.getpid()
        starting, failing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            self._report("failed", "fork", error.errno)
            os.close(starting)
            return
        else:
            if pid == 0:
                _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == guard:  # or it was killed before
                    _exec(self._command, environment, self._ignored, failing, foreground)
                os._exit(1)
        finally:
            os.close(failing)
        with contextlib.suppress(OSError):  # it has done so itself, and runs already
            os.setpgid(pid, pid)
        self._child = _Child(pid, schedule, starting)

    def _note_start(self, child: _Child) -> None:
        child.failure = os.read(child.starting, 64).decode()
        os.close(child.starting)
        child.starting = -1
        if not child.failure:
            self._report("started", child.pid)

    def _tell(self, child: _Child, number: int, grace: float) -> None:
        child.schedule.tell(boot_time(), grace)
        if child.code is None:
            _signal_group(child.pid, number)
            _signal_group(child.pid, signal.SIGCONT)  # a stopped one cannot act on it

    def _enforce(self) -> None:
        """Do what the schedule demands at this time."""
        child, now = self._child, boot_time()
        if child is None:
            return
        if self._parent_gone or child.schedule.must_be_killed(now):
            if child.code is None:
                child.schedule.is_asked = True
                _signal_group(child.pid, signal.SIGKILL)
            if self._finds_orphans:
                kill_children()
        elif child.schedule.must_be_asked(now):
            self._report("expiring")
            self._tell(child, signal.SIGTERM, child.schedule.kill_at - now)
        if child.code is not None and self._finds_orphans:
            for pid in set(_children()) - child.asked:
                child.asked.add(pid)
                with contextlib.suppress(OSError):
                    if os.getpgid(pid) != child.pid:  # or it was asked with its group
                        os.kill(pid, signal.SIGTERM)
                        os.kill(pid, signal.SIGCONT)

    def _collect(self) -> None:
        """Reap what has ended; report when nothing of the command is left."""
        is_any_left = True
        with contextlib.suppress(ChildProcessError):
            while is_any_left:
                child = self._child
                pid = -1
                if child is not None and child.code is None and _is_zombie(child.pid):
                    # Its process group has its number as long as it is not reaped, so this is the
                    # last moment to reach those that are no children of the guard yet.
                    pid = child.pid
                    if not self._finds_orphans:
                        _signal_group(pid, signal.SIGKILL)
                    elif not child.schedule.is_asked:
                        _signal_group(pid, signal.SIGTERM)
                pid, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
                is_any_left = pid != 0
                if pid:
                    self._note_status(pid, status)
            return
        self._finish()

    def _note_status(self, pid: int, status: int) -> None:
        child = self._child
        if child is None or os.WIFCONTINUED(status):
            return
        if pid != child.pid or child.code is not None:
            if not os.WIFSTOPPED(status):
                child.asked.discard(pid)
        elif os.WIFSTOPPED(status):
            self._report("stopped", os.WSTOPSIG(status))
        else:
            child.code = os.waitstatus_to_exitcode(status)
            if not child.schedule.is_asked:
                child.ended_by_itself = True
                child.schedule.tell(boot_time(), self._grace)

    def _finish(self) -> None:
        """Report the end of the command: the guard has no children left."""
        child, self._child = self._child, None
        if child is not None and child.starting >= 0:
            self._note_start(child)
        if child is not None and child.failure:
            self._report("failed", child.failure)
        elif child is not None:
            self._report("ended", child.code, int(not child.ended_by_itself))


def _exec(
    command: Sequence[str],
    environment: Mapping[str, str],
    ignored: set[int],
    failing: int,
    foreground: bool,
) -> None:
    """Become the command, in the forked process; failures are written to the descriptor."""
    try:
        os.setpgid(0, 0)
        if foreground:
            with contextlib.suppress(OSError):  # SIGTTOU is ignored, still
                terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
                os.tcsetpgrp(terminal, os.getpid())
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        os.execvpe(command[0], [*command], environment)  # noqa: S606 - without a shell, on purpose
    except OSError as error:
        os.write(failing, f"exec {error.errno}".encode())
    except BaseException:  # noqa: BLE001 - no exception may leave the forked process
        os.write(failing, b"fork 12")


def kill_children() -> None:
    """Kill the children of a subreaper; their own become children of it, for the next call."""
    for pid in _children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """The children of this process; one may be missing if another ends at this moment."""
    me = str(os.getpid())
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[
                    1
                ] == me:
                    found.append(int(folder.name))
    return found


def _signal_group(pid: int, number: int) -> None:
    """Send a signal to a command that is not reaped, and to its process group."""
    with contextlib.suppress(OSError):  # they run as another user
        os.killpg(pid, number)
    with contextlib.suppress(OSError):
        if os.getpgid(pid) != pid:  # it has joined another group
            os.kill(pid, number)


def _is_zombie(pid: int) -> bool:
    """Whether this child has ended, and is not reaped; False on systems that cannot tell."""
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return hasattr(os, "waitid") and os.waitid(os.P_PID, pid, how) is not None


def become_subreaper() -> bool:
    """Let descendants that lose their parent become children of this process; False if impossible."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    return False


def main(descriptor: str, grace: str, ignored: str, parent: str, *command: str) -> None:
    """Guard a command until the process `parent`, at the other end of the descriptor, has gone."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)  # a stopped guard then sees that the parent has gone
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    if os.getppid() != int(parent):
        return
    _Guard(connection, float(grace), command, set(map(int, filter(None, ignored.split(","))))).run()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:  # noqa: BLE001 - stderr may be a full pipe, and a traceback would wait
        os._exit(70)
    os._exit(0)
