"""`leadership run` and its children: how they end, with which exit code, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadership_core import open_store
from tests.support.backends import ALL, on_all_in_soak
from tests.support.child_log import assert_one_term_at_a_time, lifetimes, survivors
from tests.support.run_processes import RunFleet
from tests.support.servers.consul import Consul
from tests.support.waiting import wait_until
from tests.system.conftest import TargetStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # the waits grow with the load


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def fleet(target: TargetStore, unique_key: str, tmp_path: Path) -> Iterator[RunFleet]:
    """Processes of `leadership run`; when the test is over, nothing of their children may be left."""
    made = RunFleet(tmp_path / "run", target.url, unique_key, target.ttl)
    yield made
    left = survivors(made.log) if not made.is_running else {}
    made.close()
    assert left == {}


def for_leases(target: TargetStore, leases: float) -> None:
    """Wait until a lease that was not renewed would have ended: nothing reports that nothing happens."""
    time.sleep(leases * target.ttl)


def leader_of(target: TargetStore, key: str) -> str | None:
    with open_store(target.url) as store:
        found = store.leader(key)
        return None if found is None else found.value


@pytest.mark.parametrize(("kind", "code"), [("sqlite", 0), *((kind, 3) for kind in ALL)])
def test_run_exits_with_the_code_of_its_child(
    fleet: RunFleet, target: TargetStore, unique_key: str, code: int
) -> None:
    """And has left the election then."""
    run = fleet.start(f"exit={code}")

    assert run.code() == code
    assert leader_of(target, unique_key) is None
    assert_one_term_at_a_time(fleet.log)


@pytest.mark.parametrize("number", [signal.SIGKILL])
def test_run_exits_with_128_and_the_signal_of_its_child(
    fleet: RunFleet, number: signal.Signals
) -> None:
    """As a shell does."""
    assert fleet.start(f"signal={number:d}").code() == 128 + number


@pytest.mark.parametrize(
    ("content", "mode", "code"), [(None, 0, 127), ("#!/bin/sh\n", 0o600, 126), ("x", 0o700, 126)]
)
def test_run_exits_as_a_shell_for_a_command_that_cannot_run(
    fleet: RunFleet, tmp_path: Path, content: str | None, mode: int, code: int
) -> None:
    """It does not exist, may not be executed, or is no program."""
    command = tmp_path / "command"
    if content is not None:
        command.write_text(content)
        command.chmod(mode)

    assert fleet.start(command=[str(command)]).code() == code


def test_command_that_disappears_before_the_election_ends_run(
    fleet: RunFleet, tmp_path: Path
) -> None:
    """What cannot be executed when it is elected leaves the election to others."""
    command = tmp_path / "command"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o700)
    leader = fleet.start()
    token = fleet.wait_child()
    standby = fleet.start(command=[str(command)])
    standby.wait("campaigning")
    command.unlink()
    leader.signal(signal.SIGTERM)

    assert standby.code() == 127
    assert standby.wait("child_failed")["step"] == "exec"
    assert lifetimes(fleet.log)[-1].token == token


@on_all_in_soak
def test_child_that_ignores_sigterm_ends_with_all_its_processes(fleet: RunFleet) -> None:
    """Grandchildren and daemons in sessions of their own included, before the claim is released."""
    leader = fleet.start("ignore", "fork", "daemon")
    token = fleet.wait_child()
    standby = fleet.start()
    wait_until(lambda: len(lifetimes(fleet.log)[-1].pids) == 3, 10, "three processes")
    leader.signal(signal.SIGTERM)

    assert leader.code() == 143
    fleet.wait_child(token)
    standby.signal(signal.SIGTERM)
    assert standby.code() == 143
    assert_one_term_at_a_time(fleet.log, terms=2)


def test_child_that_exits_takes_its_processes_along(fleet: RunFleet) -> None:
    """What a child leaves behind is ended before the release; the exit code remains its own."""
    assert fleet.start("fork", "daemon", "exit=3").code() == 3
    assert survivors(fleet.log) == {}
    assert len(lifetimes(fleet.log)[0].pids) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_is_passed_on_and_ends_run(fleet: RunFleet, number: signal.Signals) -> None:
    """The child dies of the same signal, and the exit code says which it was."""
    run = fleet.start()
    fleet.wait_child()
    run.signal(number)

    assert run.code() == 128 + number
    assert run.wait("child_ended")["code"] == -number


def test_child_ends_within_its_grace(fleet: RunFleet) -> None:
    """A child that ends in order is given the time for it, and the exit code names the signal."""
    run = fleet.start("polite", grace=20)
    fleet.wait_child()
    run.signal(signal.SIGTERM)

    assert run.code() == 143
    assert run.wait("child_ended")["code"] == 0


def test_second_signal_kills_the_child(fleet: RunFleet, target: TargetStore) -> None:
    """The first one would wait for a long grace."""
    run = fleet.start("ignore", grace=60)
    fleet.wait_child()
    run.signal(signal.SIGTERM)
    for_leases(target, 0.2)
    assert "child_ended" not in run.events
    run.signal(signal.SIGTERM)

    assert run.code(10) == 143
    assert run.wait("child_ended")["code"] == -signal.SIGKILL


def test_signal_before_the_election_ends_a_standby(fleet: RunFleet) -> None:
    """It exits with 128 and the number of the signal, as with a child."""
    fleet.start()
    fleet.wait_child()
    standby = fleet.start()
    standby.wait("campaigning")
    standby.signal(signal.SIGTERM)

    assert standby.code() == 143


def test_sigusr1_resigns(fleet: RunFleet) -> None:
    """The child ends first, then another term begins, and the one that has resigned campaigns again."""
    one, other = fleet.start("ignore", "fork"), fleet.start("ignore", "daemon")
    token = fleet.wait_child()
    for _ in range(3):
        leader = fleet.leader(token)
        (standby,) = {one, other} - {leader}
        standby.wait("campaigning")
        resigned, campaigning = leader.count("resigned"), leader.count("campaigning")
        leader.signal(signal.SIGUSR1)
        leader.wait("resigned", times=resigned + 1)
        leader.wait("campaigning", times=campaigning + 1)
        token = fleet.wait_child(token)
    for run in (one, other):
        run.signal(signal.SIGTERM)
        assert run.code() == 143
    assert_one_term_at_a_time(fleet.log, terms=4)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 0)])
def test_once_ends_with_the_first_term(fleet: RunFleet, number: signal.Signals, code: int) -> None:
    """A resignation is a success."""
    run = fleet.start(options=("--once",))
    fleet.wait_child()
    run.signal(number)

    assert run.code() == code
    assert len(lifetimes(fleet.log)) == 1


def test_once_ends_with_a_deleted_claim(
    fleet: RunFleet, target: TargetStore, unique_key: str
) -> None:
    """A lost term is a failure, and the child is killed at once: another may lead already."""
    run = fleet.start("polite", options=("--once",), grace=60)
    fleet.wait_child()
    with open_store(target.url) as store:
        store.delete(unique_key)

    assert run.code() == 1
    assert run.wait("child_ended")["code"] == -signal.SIGKILL


def test_full_pipe_of_the_child_holds_up_nothing(fleet: RunFleet, target: TargetStore) -> None:
    """A child that blocks on its output keeps its term, and its messages do not block run, either."""
    reader, writer = os.pipe()
    try:
        run = fleet.start("print", stdout=writer)
        token = fleet.wait_child()
        wait_until(lambda: lifetimes(fleet.log)[-1].seconds_since_last > 0.5, 10, "it blocks")
        for_leases(target, 1.5)
        assert "child_ended" not in run.events
        run.signal(signal.SIGTERM)
        assert run.code() == 143
    finally:
        os.close(reader)
        os.close(writer)
    assert lifetimes(fleet.log)[-1].token == token


def test_full_pipe_of_stderr_holds_up_nothing(
    target: TargetStore, unique_key: str, run_command: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The messages of `leadership run` share the pipe with the child's, and are lost then."""
    reader, writer = os.pipe()
    try:
        fill = "import os, signal; os.set_blocking(2, False)\ntry:\n while True: os.write(2, b'x' * 4096)"
        fill += (
            "\nexcept BlockingIOError: os.set_blocking(2, True)\nos.execlp('sleep', 'sleep', '60')"
        )
        run = run_command(
            [target.url, unique_key, "--ttl", "1.5", "-v", "--", sys.executable, "-c", fill],
            stderr=writer,
        )
        wait_until(lambda: leader_of(target, unique_key), 15, "it leads")
        for _ in range(40):
            run.send_signal(signal.SIGWINCH)
        for_leases(target, 1.5)
        assert run.poll() is None
        assert leader_of(target, unique_key) is not None
        run.send_signal(signal.SIGTERM)
        assert run.wait(20) == 143
    finally:
        os.close(reader)
        os.close(writer)


@pytest.fixture
def run_command() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `leadership run` with these words; it is killed at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(words: list[str], stderr: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "leadership_core.cli", "run", *words]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_child_inherits_environment_and_standard_descriptors_only(
    target: TargetStore, unique_key: str, tmp_path: Path
) -> None:
    """It finds its term in the environment, without the secrets of the URL."""
    report = (
        "import json, os, signal; print(json.dumps({'fds': sorted(map(int, os.listdir('/proc/self/fd')))[:-1],"
        " 'env': dict(os.environ), 'mask': open('/proc/self/status').read()}))"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "leadership_core.cli", "run", unique_key, "--ttl", "1.5"),
            *("--", sys.executable, "-I", "-S", "-c", report),
        ],
        env={**os.environ, "LEADERSHIP_URL": target.url, "OTHER": "value"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = json.loads(done.stdout)
    env = found["env"]
    assert found["fds"] == [0, 1, 2]
    assert env["OTHER"] == "value"
    assert env["LEADERSHIP_KEY"] == unique_key
    assert int(env["LEADERSHIP_TOKEN"]) > 0
    assert env["LEADERSHIP_URL"] == target.url
    assert f"{os.uname().nodename}-" in env["LEADERSHIP_VALUE"]
    status = dict(line.split(":", 1) for line in found["mask"].splitlines())
    assert int(status["SigBlk"], 16) == 0
    ignored = {one for one in signal.valid_signals() if int(status["SigIgn"], 16) >> one - 1 & 1}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ}  # as Python has them


def test_store_that_does_not_answer_ends_run(tmp_path: Path, unique_key: str) -> None:
    """At the beginning, with the exit code of the other commands; its time is `--timeout`."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"etcd://127.0.0.1:{closed.getsockname()[1]}"
        fleet = RunFleet(tmp_path / "run", url, unique_key, 5.0)
        run = fleet.start(options=("--timeout", "0.5"))

        assert run.code() == 4
    assert lifetimes(fleet.log) == []


def test_secret_of_the_url_is_in_no_other_process(
    consul: Consul, unique_key: str, tmp_path: Path
) -> None:
    """Neither the guard nor the child has it, in its environment or its command line."""
    secret = "secret-7f3a"
    fleet = RunFleet(tmp_path / "run", "", unique_key, 10.0)
    url = consul.url.replace("://", f"://:{secret}@")
    try:
        run = fleet.start(env={"LEADERSHIP_URL": url})
        fleet.wait_child()
        (child,) = survivors(fleet.log)
        for pid in (run.guard, child):
            for name in ("environ", "cmdline"):
                assert secret.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
            assert b":***@" in Path(f"/proc/{pid}/environ").read_bytes()
        run.signal(signal.SIGTERM)
        assert run.code() == 143
    finally:
        fleet.close()


def test_status_over_http(fleet: RunFleet) -> None:
    """With `--http` a leader shows itself; the child has no part in it."""
    run = fleet.start(options=("--http", "0"))
    token = fleet.wait_child()
    line = next(one["text"] for one in run.messages if one["event"] == "text")
    with urllib.request.urlopen(f"{line.split()[-1]}leader", timeout=10) as answer:
        shown = json.load(answer)
    assert f"'token': {token}" in str(shown)
    run.signal(signal.SIGTERM)
    assert run.code() == 143
