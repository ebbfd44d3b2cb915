"""`leadership follow`, `leader`, `stores`, and what all commands have in common."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadership_core import open_store
from tests.support.waiting import at_most
from tests.unit.cli.command import ROOT, Line, Start, environment, run

KEY = "service/leader"
COMMANDS = "elect", "run", "follow", "leader", "stores", "explain", "check", "demo", "completion"


def says(leader: str | None) -> Callable[[Line], bool]:
    return lambda line: bool(line.said["leader"] == leader)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        server.settimeout(10.0)
        yield server


@pytest.fixture
def black_hole(server: socket.socket) -> str:
    """The address of the server that never answers."""
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_port() -> int:
    """A port without a server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# -- follow ---------------------------------------------------------------------------------


def test_follow_prints_every_leader_and_no_leader(start: Start, url: str) -> None:
    """It starts before the first candidate, and never prints a dead leader after its claim has ended."""
    begun = time.monotonic()
    follower = start("follow", url, KEY, "--json")
    assert follower.wait(lambda _: True, 3.0).said["leader"] is None
    assert follower.lines[0].at - begun < at_most(2.0)
    first = start("elect", url, KEY, "a", "--ttl", "1", "--json")
    token = first.wait_event("elected").said["token"]
    assert follower.wait(says("a")).said["token"] == token
    first.send(signal.SIGKILL)
    assert follower.wait(says(None), 2.0, since=2).said["token"] is None
    second = start("elect", url, KEY, "b", "--ttl", "1", "--json")
    assert follower.wait(says("b")).said["token"] > token
    second.end()
    follower.wait(says(None), 2.0, since=4)
    assert all(set(line.said) == {"time", "leader", "token"} for line in follower.lines)
    assert [line.said["leader"] for line in follower.lines] == [None, "a", None, "b", None]
    done = follower.end()
    assert done.code == 0
    assert done.err == ""


def test_follow_prints_a_resignation_at_once(start: Start, url: str) -> None:
    """The next line is not the leader that has resigned."""
    candidates = [start("elect", url, KEY, name, "--ttl", "30", "--json") for name in ("a", "b")]
    for candidate in candidates:
        candidate.wait_event("campaigning")
    follower = start("follow", url, KEY, "--json")
    leader = follower.wait(lambda line: line.said["leader"] is not None).said
    time.sleep(0.3)
    for candidate in candidates:
        candidate.send(signal.SIGUSR1)  # of no consequence for the one that does not lead
    other = "b" if leader["leader"] == "a" else "a"
    assert follower.wait(says(other), 2.0).said["token"] > leader["token"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_follow_ends_by_a_signal(number: signal.Signals, start: Start, url: str) -> None:
    """The exit code is 0, without a message."""
    follower = start("follow", url, KEY, "--json")
    follower.wait(says(None))
    done = follower.end(number)
    assert (done.code, done.err) == (0, "")
    assert done.seconds < at_most(2.0)


def test_follow_ends_without_a_reader(url: str, tmp_path: Path) -> None:
    """In `leadership follow ... | head -1` it ends without an error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", "follow", url, KEY],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "no leader" in process.stdout.readline()
    process.stdout.close()
    try:
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
    finally:
        process.kill()
        process.wait()


# -- leader ---------------------------------------------------------------------------------


def test_leader_prints_the_value_or_exits_with_3(start: Start, url: str) -> None:
    """It prints the value alone for scripts, and one object with --json."""
    with open_store(url) as store:
        store.put("other", b"")  # now there is a file
    none = run("leader", url, KEY)
    assert (none.code, none.out, none.err) == (3, "", "")
    node = start("elect", url, KEY, "http://node-1:8080", "--json")
    token = node.wait_event("elected").said["token"]
    some = run("leader", url, KEY)
    assert (some.code, some.out, some.err) == (0, "http://node-1:8080\n", "")
    found = json.loads(run("leader", url, f"/{KEY}/", "--json").out)
    assert found == {"key": KEY, "leader": "http://node-1:8080", "token": token}
    node.end()
    assert run("leader", url, KEY).code == 3


def test_leader_creates_no_file(tmp_path: Path) -> None:
    """A mistyped file name is reported, and no file is created."""
    done = run("leader", "sqlite:///typo.db", KEY, cwd=tmp_path)

    assert (done.code, done.out) == (3, "")
    assert done.err == "leadership leader: there is no file typo.db\n"
    assert list(tmp_path.iterdir()) == []


def test_leader_waits_for_a_store_that_is_starting(closed_port: int) -> None:
    """A refused connection is retried within --timeout, and no longer."""
    url = f"consul://127.0.0.1:{closed_port}"
    done = run("leader", url, KEY, "--timeout", "1")
    assert done.code == 4
    assert "refused" in done.err
    assert 0.5 < done.seconds < at_most(3.5)


def test_url_may_come_from_the_environment(start: Start, url: str) -> None:
    """A URL on the command line takes precedence."""
    start("elect", url, KEY, "node-1", "--json").wait_event("elected")
    extra = {"LEADERSHIP_URL": url}
    assert run("leader", KEY, extra=extra).out == "node-1\n"
    assert run("leader", f"{url}.other", KEY, extra=extra).code == 3
    assert run("explain", extra=extra).code == 0


@pytest.mark.parametrize("words", [["leader"], ["follow"], ["elect", "value"], ["explain"]])
def test_store_that_never_answers_is_given_up_in_time(words: list[str], black_hole: str) -> None:
    """The exit code is 4 with one line, although the connection was accepted."""
    command, *value = words
    key = [] if command == "explain" else [KEY]
    done = run(command, f"consul://:hunter2@{black_hole}", *key, *value, "--timeout", "0.5")
    assert done.code == 4
    assert done.err.count("\n") == 1
    assert "answer" in done.err
    assert "hunter2" not in done.err + done.out
    assert done.seconds < at_most(2.5)


@pytest.mark.parametrize("command", ["leader", "explain", "elect"])
def test_ctrl_c_ends_a_waiting_command(
    command: str, server: socket.socket, black_hole: str, tmp_path: Path
) -> None:
    """It ends at once, without a traceback; an election that never began is left with 0."""
    words = {"leader": [KEY], "explain": [], "elect": [KEY, "value"]}[command]
    words = [command, f"consul://{black_hole}", *words, "--timeout", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", *words],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    connection, _ = server.accept()
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - sent < at_most(2.0)
    assert process.returncode == (0 if command == "elect" else 130)
    assert b"Traceback" not in err
    connection.close()


# -- stores, and all commands ---------------------------------------------------------------


def test_stores_lists_the_schemes_and_their_distributions() -> None:
    """The embedded stores come with the core."""
    lines = [json.loads(line) for line in run("stores", "--json").out.splitlines()]
    found = {line["scheme"]: line["distribution"] for line in lines}
    assert found["memory"] == found["sqlite"] == "leadership-core"
    assert all(line["version"] for line in lines)
    text = run("stores").out.splitlines()
    assert [line.split("://")[0] for line in text] == [line["scheme"] for line in lines]
    assert any(line.startswith("sqlite://") and "leadership-core" in line for line in text)


def test_broken_plugin_fails_for_its_own_scheme_only(url: str, tmp_path: Path) -> None:
    """It is listed with the others, and opening it fails with one line."""
    (tmp_path / "broken_store.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    folder = tmp_path / "broken_store-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-store\nVersion: 1.5\n")
    (folder / "entry_points.txt").write_text("[leadership.stores]\nbroken = broken_store\n")
    extra = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    assert re.search(r"broken:// +broken-store 1[.]5\n", run("stores", extra=extra).out)
    assert run("leader", url, KEY, extra=extra).code == 3
    done = run("leader", "broken://:hunter2@host", KEY, extra=extra)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "broken-store 1.5" in done.err
    assert "first line second line" in done.err
    assert "hunter2" not in done.err


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    """Every command has its own help."""
    done = run("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert f"\n  {command}" in done.out
        own = run(command, "--help")
        assert own.code == 0
        assert own.out.startswith(f"usage: leadership {command}")
        assert "--json" in own.out
    for code in range(5):
        assert f"\n  {code}  " in done.out


@pytest.mark.parametrize(
    "words", [["elect", "value"], ["follow"], ["leader"], ["check"], ["run", "--", "true"]]
)
def test_command_refuses_a_store_of_its_own_process(words: list[str]) -> None:
    """Each process would lead itself; the message says what to use."""
    command, *rest = words
    done = run(command, "memory://x", *([] if command == "check" else [KEY]), *rest)

    assert (done.code, done.out) == (2, "")
    assert "memory:// exists in one process only" in done.err
    assert "use sqlite:///FILE.db" in done.err


@pytest.mark.parametrize("words", [["--version"], ["leader", "--version"]])
def test_version_is_that_of_the_distribution(words: list[str]) -> None:
    """It is one line, with or without a command."""
    done = run(*words)
    assert done.code == 0
    assert done.out.startswith("leadership 0.")
    assert done.out.count("\n") == 1


def test_options_may_be_anywhere(url: str) -> None:
    """A word after -- is no option."""
    assert run("leader", "--json", url, "--timeout", "1", KEY).code == 3
    assert run("leader", "--timeout", "1", "--", url, "--json").code == 3


def test_log_is_quiet_without_verbose(black_hole: str) -> None:
    """Warnings of the library do not disturb a script that reads stderr."""
    words = ["follow", f"consul://:hunter2@{black_hole}", KEY, "--timeout", "0.5"]
    assert run(*words).err.count("\n") == 1
    loud = run(*words, "-v")
    assert loud.code == 4
    assert loud.err.count("\n") > 1
    assert "hunter2" not in loud.err
