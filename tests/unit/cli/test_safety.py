"""Safety of the command against hostile folders, hostile values and unusual starts."""

from __future__ import annotations

import logging
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leadership_core import open_store
from leadership_core.cli.logs import _OneLineFormatter
from leadership_core.cli.main import main
from tests.unit.cli.command import ROOT, environment, run

KEY = "service/leader"
HOSTILE = "node\x1b[2J\nforged line\u202e" + "x" * 100_000


def shown_on_a_terminal(words: list[str], cwd: Path) -> bytes:
    """Run the command on a terminal; returns all that it printed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "leadership_core.cli", *words]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=cwd, env=environment()
    )
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return said


def test_hostile_value_is_escaped_on_a_terminal_and_whole_in_a_pipe(tmp_path: Path) -> None:
    """Escape sequences would reach the terminal, and a line break would forge a line."""
    url = f"sqlite:///{tmp_path}/x.db"
    value = HOSTILE[:60_000]
    holder = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", "elect", url, KEY, "--", value],
        stdout=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        while "elected" not in holder.stdout.readline():
            assert holder.poll() is None
        piped = run("leader", url, KEY)
        escaped = shown_on_a_terminal(["leader", url, KEY], tmp_path)
    finally:
        holder.kill()
        holder.communicate()

    assert piped.out == f"{value}\n"
    assert escaped.startswith(rb"node\x1b[2J\nforged line\u202exxx")
    assert escaped.endswith(b"... (60000 characters)\r\n")
    assert escaped.count(b"\n") == 1
    assert len(escaped) < 1200


def test_leader_says_on_a_terminal_that_there_is_none(tmp_path: Path) -> None:
    """In a pipe it prints nothing, as documented; the exit code says it in both."""
    url = f"sqlite:///{tmp_path}/x.db"
    with open_store(url) as store:
        store.put("other", b"1")

    assert shown_on_a_terminal(["leader", url, KEY], tmp_path) == (
        b"leadership leader: service/leader has no leader\r\n"
    )
    done = run("leader", url, KEY)
    assert (done.code, done.out, done.err) == (3, "", "")


def test_log_is_printable_and_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """A server's text may have megabytes, and line breaks that forge records."""
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("x", 40, "", 1, "%s", (HOSTILE,), sys.exc_info())
    quiet, verbose = (
        _OneLineFormatter(verbose=False).format(record),
        _OneLineFormatter(verbose=True).format(record),
    )

    assert "\n" not in quiet
    for text in (quiet, verbose):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 25_000
    assert "Traceback" in verbose


def test_demo_runs_no_module_of_the_working_folder(tmp_path: Path) -> None:
    """Such a module would read the password of the store in its environment."""
    ran = tmp_path / "ran"
    for name in ("pluggy", "leadership_core", "json", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "leadership_core.cli", "demo"],
        cwd=tmp_path,
        env=environment({"PYTHONPATH": str(ROOT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "is elected" not in process.stdout.readline():
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert not ran.exists()


_IGNORING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "leadership_core.cli", *sys.argv[1:]])
"""


@pytest.mark.parametrize("command", ["elect", "follow", "demo"])
def test_sigterm_ends_a_command_started_in_the_background(command: str, tmp_path: Path) -> None:
    """A shell without job control starts it with SIGINT ignored, and nohup with SIGHUP ignored."""
    url = f"sqlite:///{tmp_path}/x.db"
    words = {"elect": [url, KEY, "me"], "follow": [url, KEY], "demo": []}[command]
    process = subprocess.Popen(
        [sys.executable, "-c", _IGNORING, command, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(), text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None, "nohup means nothing to it"
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(20) == (143 if command == "demo" else 0)
    finally:
        process.kill()
        process.wait()
        process.communicate()


def test_python_m_runs_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m leadership_core` does the same as `leadership`."""
    done = subprocess.run(
        [sys.executable, "-m", "leadership_core", "--version"],
        env=environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert main(["--version"]) == 0
    assert (done.returncode, done.stdout, done.stderr) == (0, capsys.readouterr().out, "")
    assert done.stdout.startswith("leadership ")


def test_ttl_may_have_a_unit(tmp_path: Path) -> None:
    """A number without a unit is seconds."""
    url = f"sqlite:///{tmp_path}/x.db"
    plain = run("explain", url, "--ttl", "90", "--timeout", "10", "--json")
    for ttl in ("90s", "1.5m", "1m30s", "90000ms"):
        done = run("explain", url, "--ttl", ttl, "--timeout", "10s", "--json")
        assert done.code == 0, done.err
        assert '"requested_ttl": 90.0' in done.out
        assert '"requested_ttl": 90.0' in plain.out
