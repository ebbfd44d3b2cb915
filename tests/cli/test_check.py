"""`leadership check`: a verdict on a store, and nothing left in it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from leadership_core import open_store
from tests.cli.command import ROOT, Done, Line, Start, run
from tests.conftest import ConsulFactory
from tests.servers.consul import Consul

pytestmark = pytest.mark.slow

FEW = Path(__file__).with_name("few_checks.py")
QUICK = "test_what_is_put_is_read,test_expecting_absence_creates_only"


def records(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


def step(name: str, **facts: object) -> Any:
    """A condition for `Running.wait`."""
    wanted = {"step": name, **facts}
    return lambda line: wanted.items() <= line.said.items()


def contents(url: str) -> list[str]:
    with open_store(url) as store:
        return [entry.key for entry in store.list("")]


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """Where a store is whose plugin has mistakes, and is installed below `tmp_path`."""
    info = tmp_path / "anarchy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anarchy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[leadership.stores]\nbroken = tests.cli.anarchy\n")
    return f"broken:///{tmp_path}/broken.db"


@pytest.mark.timeout(200)
def test_a_sound_store_is_found_sound(url: str) -> None:
    """All of the contract and the contention hold; what was in the store before is left alone."""
    with open_store(url) as store:
        mine = store.put("mine/other", b"1")

    done = run("check", url, "--json", timeout=180)

    assert (done.code, done.err) == (0, "")
    said = records(done)
    verdict = said[-1]
    assert said[0]["ttl"] == 2
    cases = [one for one in said if one["step"] == "case"]
    assert len(cases) == said[0]["cases"] > 90
    assert [one for one in cases if not one["ok"]] == []
    assert (verdict["step"], verdict["sound"]) == ("verdict", True)
    assert verdict["faults"] == verdict["failed"] == []
    assert len(verdict["after_resign"]) >= 3
    assert 0 < verdict["after_crash"] < 3
    assert 0 < verdict["after_pause"] < 3
    assert verdict["terms"] >= 6
    assert verdict["readings"] > 100
    with open_store(url) as store:
        assert store.list("") == [mine]


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_consul_is_found_sound_and_left_as_it_was(consul_server: ConsulFactory) -> None:
    """Keys and sessions; also with a prefix, below which all of it happens."""
    consul = consul_server(dev=True)
    consul.cli("kv", "put", "mine/other", "1")

    done = run("check", f"{consul.url}/prefix", timeout=390)

    assert (done.code, done.err) == (0, "")
    assert "SOUND." in done.out
    assert consul.cli("kv", "get", "-keys", "-separator=").stdout == "mine/other\n"
    assert consul.request("GET", "/v1/session/list").body == []


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_a_server_is_found_sound_and_left_as_it_was(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """What was there before is there afterwards, and nothing else."""
    url = str(request.getfixturevalue(kind).url)
    with open_store(url) as store:
        store.put("mine/other", b"1")
    before = contents(url)

    done = run("check", url, timeout=390)

    assert (done.code, done.err) == (0, ""), done.out
    assert "SOUND." in done.out
    assert contents(url) == before


def test_a_check_without_an_outage_says_so(start: Start, url: str, consul: Consul) -> None:
    """A file has no host to put a proxy before, a server has; the reason stands in both outputs."""
    check = start(QUICK, url, "--json", script=FEW)
    begun = check.wait(step("begin"), 20)
    assert begun.said["outages"] is False
    assert "names no host and port" in begun.said["no_outages_because"]
    check.end(signal.SIGINT, 20)

    check = start(f"{QUICK},test_a_slow_network_costs_no_session", consul.url, "--json", script=FEW)
    begun = check.wait(step("begin"), 20)
    assert begun.said["outages"] is True
    assert "no_outages_because" not in begun.said
    check.wait(step("case", case="test_a_slow_network_costs_no_session", ok=True), 30)
    check.end(signal.SIGINT, 20)


def test_an_unsound_store_is_found_out(broken: str, tmp_path: Path) -> None:
    """With what failed and what that means, in words; exit code 1."""
    words = [sys.executable, str(FEW), f"{QUICK},test_many_threads_at_once", broken]
    done = subprocess.run(
        words,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT SOUND." in done.stdout
    assert "FAILED" in done.stdout
    assert "expecting absence creates only" in done.stdout
    assert "Compare-and-set is not safe" in done.stdout
    assert "two believers" in done.stdout
    assert "do not elect leaders on this store" in done.stdout
    assert contents(broken.replace("broken:", "sqlite:")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("cases", "moment"),
    [("test_a_silent_leader_is_replaced_in_time", "begin"), (QUICK, "contending")],
)
def test_an_interrupted_check_leaves_nothing_behind(
    start: Start, url: str, cases: str, moment: str, number: signal.Signals
) -> None:
    """In a case or while four processes contend: Ctrl-C removes all that was made."""
    check = start(cases, url, "--json", script=FEW)
    check.wait(step(moment), 30)
    time.sleep(0.7)

    done = check.end(number, 20)

    assert done.code == 128 + number
    assert done.err == ""
    assert contents(url) == []
    time.sleep(0.5)  # a candidate that was left behind would stand again
    assert contents(url) == []


def test_a_store_that_goes_away_is_not_called_unsound(
    start: Start, consul_server: ConsulFactory
) -> None:
    """Exit code 4: it says nothing about what the store does."""
    consul = consul_server(dev=True)
    check = start(QUICK, consul.url, "--json", "--timeout", "1", script=FEW)
    check.wait(step("contending"), 30)

    consul.stop()

    assert check.process.wait(60) == 4
    assert not [line for line in check.lines if step("verdict")(line)]


def test_nobody_is_asked_for_what_cannot_work(tmp_path: Path) -> None:
    """A store within one process cannot be contended for; a store that is away is exit code 4."""
    done = run("check", "memory://x")
    assert (done.code, done.out) == (2, "")
    assert "within one process" in done.err
    done = run("check", "consul://:hunter2@127.0.0.1:1", "--timeout", "0.3")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err
    assert run("check", f"sqlite:///{tmp_path}/x.db", "--ttl", "-1").code == 2
    assert run("check", f"sqlite:///{tmp_path}/x.db", "--seconds", "0").code == 2


def test_a_ttl_that_the_store_refuses_is_wrong_usage(consul: Consul) -> None:
    """The one that was asked for is not silently replaced."""
    done = run("check", consul.url, "--ttl", "0.5")

    assert (done.code, done.out) == (2, "")
    assert "session_ttl_min" in done.err


def test_a_slow_store_is_told_beforehand(start: Start, consul_server: ConsulFactory) -> None:
    """Where the server takes no short ttl, the shortest that it takes is used, and it says so."""
    consul = consul_server(dev=True, config={"session_ttl_min": "10s"})
    check = start(QUICK, consul.url, "--json", script=FEW)

    begun = check.wait(step("begin"), 20)

    assert (begun.said["ttl"], begun.said["expires_within"]) == (10, 20)
    check.end(signal.SIGINT, 20)


def test_it_needs_no_test_framework(url: str) -> None:
    """Pytest is for authors; a user has none."""
    program = (
        "import sys; sys.modules['pytest'] = sys.modules['_pytest'] = None;"
        "from leadership_core.cli.check.checkup import check_up; print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_terminal_is_shown_a_counter(url: str) -> None:
    """One line that is written over, and no line for what holds."""
    ours, theirs = pty.openpty()
    words = [sys.executable, str(FEW), QUICK, url]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while b"2. Contention" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    os.close(ours)

    assert b"   1/2  " in shown
    assert b"   2/2  " in shown
    assert b"what is put is read" in shown
    assert b" ok " not in shown


def test_progress_is_one_line_for_each_check(start: Start, url: str) -> None:
    """Each says what it was and that it held, as soon as it is over."""
    check = start(QUICK, url, "--json", script=FEW)

    lines = [check.wait(step("case", case=name, ok=True), 20) for name in QUICK.split(",")]

    assert all(isinstance(line, Line) and line.said["what"] for line in lines)
    check.end(signal.SIGINT, 20)
