"""Figure: import times, and the start of commands."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time

from ..results import OURS
from ..run import Run

__all__ = ["measure"]

_OURS = {
    "import": "import leadership_core",
    "import of the names that programs use": (
        "from leadership_core import Candidate, Follower, open_store"
    ),
}
_PEERS = {
    "kazoo": "kazoo.client",
    "etcd3gw": "etcd3gw",
    "tooz": "tooz.coordination",
    "consul": "consul",
    "redis": "redis",
}
_COMMANDS = ("--version", "stores", "explain", "leader", "follow", "elect", "run", "demo")


_WITHOUT_HELP = {"--version", "stores"}


def measure(run: Run) -> None:
    """Measure all in turn, each in a fresh interpreter; a first run that is not counted writes the bytecode."""
    peers = {
        name: f"import {name}" for root, name in _PEERS.items() if importlib.util.find_spec(root)
    }
    for case, statement in _OURS.items():
        values: dict[str, list[float | None]] = {OURS: [], **{name: [] for name in peers}}
        for number in range(run.effort.repeats + 1):
            for name, text in {OURS: statement, **peers}.items():
                found = _time_import(text)
                if number:
                    values[name].append(found)
        for name, series in values.items():
            run.results.add("import", "", case, name, "ms", series)
    bare: list[float | None] = []
    commands: dict[str, list[float | None]] = {name: [] for name in _COMMANDS}
    for number in range(max(3, run.effort.repeats // 3) + 1):
        times = {
            name: _time_program(
                "-P", "-m", "leadership_core", name, *([] if name in _WITHOUT_HELP else ["--help"])
            )
            for name in commands
        }
        if number:
            bare.append(_time_program("-c", "pass"))
            for name, time_ in times.items():
                commands[name].append(time_)
    for name, found_ in commands.items():
        run.results.add("command", "", f"leadership {name}", OURS, "ms", found_)
        run.results.add("command", "", f"leadership {name}", "python -c pass", "ms", bare)


def _time_import(statement: str) -> float | None:
    """Milliseconds of an import in a fresh interpreter; None if it fails."""
    script = (
        f"import time; begun = time.perf_counter(); {statement}; print(time.perf_counter() - begun)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_environment(),
    )
    return None if done.returncode else 1000 * float(done.stdout.split()[-1])


def _time_program(*words: str) -> float | None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, timeout=60, check=False, env=_environment()
    )
    return None if done.returncode else 1000 * (time.monotonic() - begun)


def _environment() -> dict[str, str]:
    """That of this process, but bytecode is written: pip writes it for all that it installs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
