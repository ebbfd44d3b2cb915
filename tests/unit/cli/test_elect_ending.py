"""How `leadership elect` ends, and what it prints for people."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import at_most
from tests.unit.cli.command import Start, environment, run

KEY = "service/leader"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_releases_before_the_command_ends(
    number: signal.Signals, start: Start, url: str
) -> None:
    """There is no leader once the command has ended with 0."""
    node = start("elect", url, KEY, "node-1", "--ttl", "30", "--json")
    node.wait_event("elected")
    done = node.end(number)
    assert done.code == 0
    assert node.events[-2:] == ["resigned", "stopped"]
    assert run("leader", url, KEY).code == 3


def test_second_signal_ends_the_command_at_once(start: Start, quick_folder: Path, url: str) -> None:
    """It does so while the store hangs and the release cannot be confirmed."""
    node = start("elect", url, KEY, "node-1", "--ttl", "30", "--json")
    node.wait_event("elected")
    holder = _hold_write_lock(quick_folder / "store.db")
    try:
        node.send(signal.SIGTERM)
        node.wait_event("resigned")  # its belief ends at once all the same
        time.sleep(0.3)
        assert node.process.poll() is None
        sent = node.send(signal.SIGINT)
        assert node.process.wait(5) == 128 + signal.SIGINT
        assert time.monotonic() - sent < at_most(1.0)
    finally:
        holder.kill()
        holder.communicate()


def _hold_write_lock(file: Path) -> subprocess.Popen[str]:
    code = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('begin immediate')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_elect_releases_and_ends_without_a_reader(url: str, tmp_path: Path) -> None:
    """In `leadership elect ... | head -2` it ends without an error, and others can be elected."""
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", "elect", url, KEY, "v", "--ttl", "30"],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert "campaigning" in process.stdout.readline()
    assert "elected" in process.stdout.readline()
    process.stdout.close()
    try:
        assert process.wait(5) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert run("leader", url, KEY).code == 3


def test_elect_runs_with_a_closed_stdout(url: str, tmp_path: Path) -> None:
    """It is elected all the same."""
    script = 'exec "$0" -m leadership_core.cli elect "$1" "$2" quiet --ttl 10 >&-'
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, sys.executable, url, KEY], env=environment(), cwd=tmp_path
    )
    try:
        until = time.monotonic() + 5.0
        while run("leader", url, KEY).out != "quiet\n":
            assert time.monotonic() < until
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def test_elect_releases_and_fails_on_an_output_error(url: str, tmp_path: Path) -> None:
    """With a full disk it does not go on leading without a record."""
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "leadership_core.cli", "elect", url, KEY, "v"],
            env=environment(),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=10,
            check=False,
        )
    assert process.returncode == 1
    assert process.stderr.count(b"\n") == 1
    assert b"No space left" in process.stderr
    assert run("leader", url, KEY).code == 3


def test_elect_prints_text_for_people(url: str, tmp_path: Path) -> None:
    """A line has the time, the event, the key, the value and the token."""
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", "elect", KEY, "node\n1"],
        env=environment({"LEADERSHIP_URL": url}),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(2)]
    process.terminate()
    rest, _ = process.communicate(timeout=5)
    reported = [line.split()[1:] for line in [*lines, *rest.decode().splitlines()]]
    assert reported[0] == ["campaigning", KEY, r"node\n1"]
    assert reported[1][:4] == ["elected", KEY, r"node\n1", "token"]
    assert reported[2][0] == "resigned"
    assert reported[3] == ["stopped", KEY, r"node\n1"]
    assert lines[0][2] == lines[0][5] == ":"


def test_elect_accepts_a_value_of_any_bytes(start: Start, url: str) -> None:
    """Bytes that are no UTF-8 are read byte for byte."""
    node = start("elect", url, KEY, os.fsdecode(b"caf\xe9"), "--json")
    node.wait_event("elected")
    assert os.fsencode(run("leader", url, KEY).out) == b"caf\xe9\n"
    assert run("leader", url, KEY, "--json").code == 0
    assert node.end().code == 0
