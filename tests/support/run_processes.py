"""Processes of `leadership run` whose children log that they are alive."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.child_log import kill_survivors, lifetimes
from tests.support.paths import ROOT, python_path
from tests.support.waiting import at_most, wait_until

__all__ = ["CHILD", "RunFleet", "RunProcess"]

CHILD = ROOT / "tests" / "support" / "logging_child.py"


class RunProcess:
    """A process of `leadership run --json`.

    Attributes:
        name: its value in the election.
        process: the process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        words: list[str],
        command: list[str],
        env: Mapping[str, str],
        stdout: int | None,
    ) -> None:
        self.name = name
        self._messages = folder / f"{name}.json"
        with self._messages.open("wb") as errors, (folder / f"{name}.out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leadership_core.cli", "run", *words, "--", *command],
                env={**os.environ, **python_path(), **env},
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=errors,
            )

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it has printed; a line that is no JSON is a message of the name "text"."""
        found = []
        for line in self._messages.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                found.append(json.loads(line))
            else:
                found.append({"event": "text", "text": line})
        return found

    @property
    def events(self) -> list[str]:
        """The names of its messages."""
        return [str(message["event"]) for message in self.messages]

    def count(self, event: str) -> int:
        """How many messages have this name."""
        return self.events.count(event)

    def wait(self, event: str, seconds: float = 15.0, *, times: int = 1) -> dict[str, Any]:
        """Wait until it has printed an event so many times, and return the last one."""
        try:
            wait_until(lambda: self.count(event) >= times, seconds, f"{self.name}: {event}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it has printed {self.messages}") from None
        return [message for message in self.messages if message["event"] == event][-1]

    @property
    def guard(self) -> int:
        """The process id of its guard."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = map(int, file.read_text().split())
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def code(self, seconds: float = 15.0) -> int:
        """Wait for its end, and return its exit code."""
        try:
            return self.process.wait(at_most(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on: {self.messages}") from None


class RunFleet:
    """Processes of `leadership run` in one election.

    Args:
        folder: for their files.
        url: of the store.
        key: of the election.
        ttl: seconds.

    Attributes:
        log: what all the children write.
    """

    def __init__(self, folder: Path, url: str, key: str, ttl: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._url, self._key, self._ttl = folder, url, key, ttl
        self._started: list[RunProcess] = []
        self.log = folder / "children.log"

    def start(
        self,
        *words: str,
        name: str = "",
        url: str = "",
        options: tuple[str, ...] = (),
        command: list[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        grace: float = 0.3,
    ) -> RunProcess:
        """Start a process whose child does what the words say."""
        name = name or f"p{len(self._started)}"
        child = [sys.executable, "-I", "-S", str(CHILD), str(self.log), *words]
        where = [url or self._url] if url or self._url else []  # or by the environment
        given = [*where, self._key, name, "--json", "--ttl", str(self._ttl)]
        process = RunProcess(
            name,
            self._folder,
            [*given, "--grace", str(grace), *options],
            child if command is None else command,
            env or {},
            stdout,
        )
        self._started.append(process)
        return process

    def wait_child(self, token: int = 0, seconds: float = 15.0) -> int:
        """Wait until a child with a larger token is alive, and return its token."""
        wait_until(
            lambda: any(one.token > token for one in lifetimes(self.log)),
            seconds,
            f"a child with a token above {token}: {[(one.name, one.messages[-3:]) for one in self._started]}",
        )
        return max(one.token for one in lifetimes(self.log))

    def leader(self, token: int) -> RunProcess:
        """Wait until a process has printed that it was elected with this token, and return it."""
        found: list[RunProcess] = []

        def is_known() -> bool:
            found[:] = [
                one
                for one in self._started
                for message in one.messages
                if message["event"] == "elected" and message["token"] == token
            ]
            return bool(found)

        wait_until(is_known, 5, f"the leader of the term {token}")
        return found[0]

    @property
    def is_running(self) -> bool:
        """Whether any of the processes has not ended."""
        return any(one.process.poll() is None for one in self._started)

    def close(self) -> None:
        """Kill all of it, whatever its state."""
        for one in self._started:
            if one.process.poll() is None:
                with contextlib.suppress(ValueError, OSError):
                    os.kill(one.guard, signal.SIGKILL)
                one.process.kill()
            one.process.wait()
        kill_survivors(self.log)
