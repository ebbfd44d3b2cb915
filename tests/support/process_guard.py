"""Cleanup of the processes that a test or a whole test run leaves behind.

After each test its child processes are looked at (`children`). For the run as a whole a watchdog
process waits for the end of this one, SIGKILL included, and then kills every process that has the
run's id in its environment: grandchildren and processes in sessions of their own, too.

On systems without /proc neither sees anything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["children", "command_of", "kill", "start_watchdog"]

_VARIABLE = "LEADERSHIP_TEST_RUN"
_PROC = Path("/proc")
_HELPERS = ("multiprocessing", "tests.unit.cli.fork_server")  # live as long as the whole run does
_SWEEPS = 20  # a process may fork while the others are being killed


def start_watchdog() -> None:
    """Mark child processes from now on, and kill them after the end of this process."""
    if _watchdogs:
        return
    run = uuid.uuid4().hex
    theirs, ours = os.pipe()  # closes when this process ends, however it ends
    watchdog = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", __file__, f"{_VARIABLE}={run}"],
        {name: value for name, value in os.environ.items() if name != _VARIABLE},
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0)],
        setpgroup=0,
    )
    os.close(theirs)
    _pipes.append(ours)
    os.register_at_fork(after_in_child=_close_pipe)  # or a forked child would keep it open
    _watchdogs.add(watchdog)
    os.environ[_VARIABLE] = run


_watchdogs: set[int] = set()
_pipes: list[int] = []


def _close_pipe() -> None:
    while _pipes:
        os.close(_pipes.pop())


def children() -> set[int]:
    """Return the child processes that are running; not the watchdog, nor Python's own helpers."""
    found = set()
    for file in _PROC.glob("self/task/*/children"):
        with contextlib.suppress(OSError):
            found |= set(map(int, file.read_text().split()))
    return {pid for pid in found - _watchdogs if _is_ours(pid)}


def command_of(pid: int) -> str:
    """Return the command line of a process, shortened."""
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace")[:200].strip()
    return ""


def kill(pids: Iterable[int]) -> None:
    """Kill child processes, each with its process group if it leads one."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        return state not in {"Z", "X"} and not any(one in command_of(pid) for one in _HELPERS)
    return False


def _marked(mark: bytes) -> Iterator[int]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def _watch(mark: str) -> None:
    """Wait for the end of stdin, then kill all processes with the mark."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run may end later than these arrive
    while os.read(0, 1):
        pass
    for _ in range(_SWEEPS):
        found = list(_marked(mark.encode()))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    _watch(sys.argv[1])
