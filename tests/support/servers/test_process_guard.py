"""What a run inherits is reset, and what a test or a run starts does not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.support import process_guard
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

_IGNORED = """
import signal
names = [n.name for n in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
         if signal.getsignal(n) is signal.SIG_IGN]
print(names, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""

_BACKGROUND = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.umask(0o077)
os.environ |= {"LEADERSHIP_URL": "sqlite:///x.db", "CONSUL_HTTP_TOKEN": "x", "LANG": "C"}
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def pytest_run(folder: Path, test: str) -> list[str]:
    """The words of a test run of its own, of one file, with this project's conftest."""
    file = folder / "test_it.py"
    file.write_text(textwrap.dedent(test))
    words = ["-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-s"]
    return [*words, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(file)]


def test_processes_have_default_signals(tmp_path: Path) -> None:
    """As in the background or under nohup, with signals blocked and a foreign environment."""
    test = f"""
        import os, subprocess, sys

        def test_it(tmp_path):
            child = subprocess.run(
                [sys.executable, "-c", {_IGNORED!r}], capture_output=True, text=True, timeout=20
            )
            assert child.stdout == "[] set()\\n", child.stdout
            assert "LEADERSHIP_URL" not in os.environ
            assert "CONSUL_HTTP_TOKEN" not in os.environ
            assert os.umask(0o022) == 0o022
    """

    done = subprocess.run(
        [sys.executable, "-c", _BACKGROUND, *pytest_run(tmp_path, test)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_leftover_process_fails_test_and_is_killed(tmp_path: Path) -> None:
    """The kernel would hand it to init, which does not end it."""
    test = """
        import subprocess
        kept = []

        def test_it():
            kept.append(subprocess.Popen(["sleep", "300"]))
            print("PID", kept[0].pid)

        def test_next():
            assert kept.pop().wait(5) == -9
    """

    done = subprocess.run(
        [sys.executable, *pytest_run(tmp_path, test)],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert "2 passed, 1 error" in done.stdout
    assert "processes left running" in done.stdout
    assert "sleep 300" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_of_killed_run_end(number: signal.Signals, tmp_path: Path) -> None:
    """Grandchildren in sessions of their own, too."""
    test = """
        import subprocess, time

        def test_it():
            command = "setsid sleep 300 & echo GRANDCHILD $!; exec sleep 300"
            child = subprocess.Popen(["sh", "-c", command])
            print("CHILD", child.pid, flush=True)
            child.wait()
    """
    found: dict[str, int] = {}

    with subprocess.Popen(
        [sys.executable, *pytest_run(tmp_path, test)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        for line in run.stdout:
            words = line.split()
            if len(words) >= 2 and words[-2] in {"CHILD", "GRANDCHILD"}:
                found[words[-2]] = int(words[-1])
            if len(found) == 2:
                break
        run.send_signal(number)
        run.stdout.close()  # what is left running has it open, too

    assert len(found) == 2
    deadline = time.monotonic() + 10
    while any(map(_runs, found.values())):
        assert time.monotonic() < deadline, {p: process_guard.command_of(p) for p in found.values()}
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
