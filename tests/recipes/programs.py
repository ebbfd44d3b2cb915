"""Copies of the example programs, with short times, that are started, signalled and observed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from leadership_core import Store
from tests.support.paths import ROOT
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.waiting import wait_until

__all__ = ["TTL", "Program", "Recipe", "Stage"]

EXAMPLES = ROOT / "examples"

TTL = 4
"""Seconds, in place of the 15 of the examples."""

_ACTED = re.compile(r"in term (\d+)")


@dataclass(frozen=True)
class Recipe:
    """One example, and how a test runs it.

    Attributes:
        key: of its election.
        command: its words, in which `{python}`, `{folder}`, `{number}` and `{port}` are replaced.
        path: of the file or folder below `examples`.
        replaced: texts of the example, each with its replacement.
        prepare: commands that run once before it.
        env: variables of all its processes, in which `{folder}` is replaced.
        codes: exit codes after SIGTERM.
        candidates: how many each program is.
    """

    key: str
    command: str
    path: str
    replaced: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    codes: tuple[int, ...] = (143,)
    candidates: int = 1

    def copy(self, folder: Path) -> None:
        """Copy it into a folder, with the replacements; each text to be replaced must exist."""
        source = EXAMPLES / self.path
        target = folder / source.name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
        files = [target] if target.is_file() else [*target.rglob("*.*")]
        for old, new in self.replaced.items():
            having = [file for file in files if old in file.read_text()]
            assert having, f"{self.path} has no {old!r}"
            for file in having:
                file.write_text(file.read_text().replace(old, new))


@dataclass(eq=False)
class Program:
    """A running copy: one process, or a master with workers."""

    number: int
    process: Process
    port: int

    def owns(self, pid: int) -> bool:
        """Whether the process is this one or a child of it."""
        return pid == self.process.pid or _parent(pid) == self.process.pid

    def terms(self) -> list[int]:
        """The fencing tokens with which it has done its work, in order, without repetitions."""
        log = self.process.log.read_text(errors="replace")
        return list(dict.fromkeys(int(token) for token in _ACTED.findall(log)))


class Stage:
    """The programs of one recipe on one store.

    Args:
        stack: ends the programs.
        recipe: the example.
        folder: for the copy, the logs and the data.
        store: the store of the election, to observe it.
        url: of that store.
        env: further variables of the programs.
    """

    def __init__(
        self,
        stack: ExitStack,
        recipe: Recipe,
        folder: Path,
        store: Store,
        url: str,
        env: Mapping[str, str],
    ) -> None:
        self.recipe, self.store, self._stack, self.folder = recipe, store, stack, folder
        recipe.copy(folder)
        self._env = {
            "LEADERSHIP_URL": url,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "PYTHONUNBUFFERED": "1",
            **{name: value.format(folder=folder) for name, value in recipe.env.items()},
            **env,
        }
        self.programs: list[Program] = []
        self.port = 0
        for number, command in enumerate(recipe.prepare):
            ready = self._process(command, f"prepare-{number}")
            ready.start()
            assert ready.wait(60) == 0, ready.tail()

    def start(self) -> Program:
        """Start one more program, and wait until it campaigns."""
        program = self.launch()
        wait_until(lambda: self.campaigns(program), 20, f"it campaigns:\n{program.process.tail()}")
        return program

    def campaigns(self, program: Program) -> bool:
        """Whether all candidates of the program have started to campaign."""
        log = program.process.log.read_text(errors="replace")
        return log.count(" campaigning") >= self.recipe.candidates

    def launch(self) -> Program:
        """Start one more program; from the main thread, whose end would be that of the program."""
        number, self.port = len(self.programs) + 1, free_port()
        process = self._process(self.recipe.command, f"program-{number}")
        self._stack.callback(process.terminate)
        program = Program(number, process, self.port)
        self.programs.append(program)
        process.start()
        return program

    def leader_pid(self) -> int | None:
        """The process that leads according to the store: the number at the end of its value."""
        leader = self.store.leader(self.recipe.key)
        return None if leader is None else int(str(leader).rpartition("-")[2])

    def await_leader(self, seconds: float, *, other_than: int = 0) -> tuple[Program, int]:
        """Wait for a leader whose work has begun; returns its program, and the leading process.

        Args:
            seconds: on an idle machine.
            other_than: a process that led before.
        """

        def leads() -> bool:
            time.sleep(0.1)  # each question is a request, which takes the time of the processors
            pid = self.leader_pid()
            return pid not in {None, other_than} and bool(self._owner(pid or 0))

        wait_until(leads, seconds, f"a leader other than {other_than}:\n{self.logs()}")
        pid = self.leader_pid()
        assert pid is not None
        program = self._owner(pid)
        assert program is not None
        leader = self.store.leader(self.recipe.key)
        assert leader is not None
        wait_until(lambda: leader.token in program.terms(), 10, f"work of {leader}:\n{self.logs()}")
        return program, pid

    def assert_one_worker_per_term(self) -> None:
        """Each term's work was done by one program, and the terms of each program grow."""
        every = [token for program in self.programs for token in program.terms()]
        assert len(every) == len(set(every)), self.logs()
        for program in self.programs:
            assert program.terms() == sorted(program.terms()), self.logs()

    def logs(self) -> str:
        """The end of what each program has printed."""
        return "\n".join(f"-- {one.number} --\n{one.process.tail()}" for one in self.programs)

    def _owner(self, pid: int) -> Program | None:
        running = (one for one in self.programs if one.process.alive)
        return next((one for one in running if one.owns(pid)), None)

    def _process(self, command: str, name: str) -> Process:
        number = str(len(self.programs) + 1)
        names = {"python": sys.executable, "folder": self.folder, "port": self.port}
        words = [word.format(number=number, **names) for word in command.split()]
        return Process(words, self.folder / f"{name}.log", self._env)


def kill(pid: int) -> None:
    """Kill one process with SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
