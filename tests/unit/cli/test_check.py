"""`leadership check`: its verdict, its output, and that it leaves nothing in the store."""

from __future__ import annotations

import contextlib
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
from tests.conftest import ConsulFactory
from tests.support.servers.consul import Consul
from tests.support.waiting import at_most
from tests.unit.cli.command import ROOT, Done, Line, Start, run

pytestmark = pytest.mark.slow

FEW = Path(__file__).with_name("few_checks.py")
QUICK = "test_put_returns_the_entry_that_is_read,test_put_expecting_absence_only_creates"


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
    """Return the URL of a store whose faulty plugin is installed below `tmp_path`."""
    info = tmp_path / "anarchy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anarchy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[leadership.stores]\nbroken = tests.unit.cli.broken_plugin\n"
    )
    return f"broken:///{tmp_path}/broken.db"


@pytest.mark.timeout(600)
def test_check_passes_a_correct_store(url: str) -> None:
    """All cases and the contention pass, and an entry of the user is left alone."""
    with open_store(url) as store:
        mine = store.put("mine/other", b"1")

    done = run("check", url, "--json", timeout=560)  # a minute on an idle machine

    assert (done.code, done.err) == (0, "")
    said = records(done)
    verdict = said[-1]
    assert said[0]["ttl"] == 2
    cases = [one for one in said if one["step"] == "case"]
    assert len(cases) == said[0]["cases"] > 90
    assert [one for one in cases if not one["ok"]] == []
    assert (verdict["step"], verdict["passed"]) == ("verdict", True)
    assert verdict["faults"] == verdict["failed"] == []
    assert len(verdict["after_resign"]) >= 3
    assert 0 < verdict["after_crash"] < at_most(3)
    assert 0 < verdict["after_pause"] < at_most(3)
    assert verdict["terms"] >= 6
    assert verdict["readings"] > 100
    with open_store(url) as store:
        assert store.list("") == [mine]


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_check_passes_consul_and_leaves_it_as_it_was(consul_server: ConsulFactory) -> None:
    """No key and no session remains, and all its keys are below the prefix of the URL."""
    consul = consul_server(dev=True)
    consul.cli("kv", "put", "mine/other", "1")

    done = run("check", f"{consul.url}/prefix", timeout=390)

    assert (done.code, done.err) == (0, "")
    assert "Verdict: PASS." in done.out
    assert consul.cli("kv", "get", "-keys", "-separator=").stdout == "mine/other\n"
    assert consul.request("GET", "/v1/session/list").body == []


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_check_passes_a_server_and_leaves_it_as_it_was(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """The store holds the same entries before and after."""
    url = str(request.getfixturevalue(kind).url)
    with open_store(url) as store:
        store.put("mine/other", b"1")
    before = contents(url)

    done = run("check", url, timeout=390)

    assert (done.code, done.err) == (0, ""), done.out
    assert "Verdict: PASS." in done.out
    assert contents(url) == before


def test_check_reports_whether_it_can_make_outages(start: Start, url: str, consul: Consul) -> None:
    """A file has no host to put a proxy before, a server has one; the first record says so."""
    check = start(QUICK, url, "--json", script=FEW)
    begun = check.wait(step("begin"), 20)
    assert begun.said["outages"] is False
    assert "names no host and port" in begun.said["no_outages_because"]
    check.end(signal.SIGINT, 20)

    check = start(f"{QUICK},test_slow_network_ends_no_session", consul.url, "--json", script=FEW)
    begun = check.wait(step("begin"), 20)
    assert begun.said["outages"] is True
    assert "no_outages_because" not in begun.said
    check.wait(step("case", case="test_slow_network_ends_no_session", ok=True), 30)
    check.end(signal.SIGINT, 20)


def test_check_fails_a_broken_store(broken: str, tmp_path: Path) -> None:
    """The exit code is 1, and the report names the failed cases and what they mean."""
    words = [sys.executable, str(FEW), f"{QUICK},test_threads_do_not_disturb_each_other", broken]
    done = subprocess.run(
        words,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "Verdict: FAIL." in done.stdout
    assert "FAILED" in done.stdout
    assert "put expecting absence only creates" in done.stdout
    assert "Compare-and-set is not safe" in done.stdout
    assert "two leaders" in done.stdout
    assert "do not elect leaders on this store" in done.stdout
    assert contents(broken.replace("broken:", "sqlite:")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("cases", "moment"),
    [("test_silent_leader_is_replaced_within_its_expiry", "begin"), (QUICK, "contending")],
)
def test_check_leaves_nothing_behind_when_interrupted(
    start: Start, url: str, cases: str, moment: str, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM remove all keys and processes, in a case as well as in the contention."""
    check = start(cases, url, "--json", script=FEW)
    check.wait(step(moment), 30)
    time.sleep(0.7)

    done = check.end(number, 20)

    assert done.code == 128 + number
    assert done.err == ""
    assert contents(url) == []
    time.sleep(0.5)  # a candidate that was left behind would campaign again
    assert contents(url) == []


def test_check_gives_no_verdict_on_a_store_that_goes_away(
    start: Start, consul_server: ConsulFactory
) -> None:
    """The exit code is 4: an outage says nothing about the store's behaviour."""
    consul = consul_server(dev=True)
    check = start(QUICK, consul.url, "--json", "--timeout", "1", script=FEW)
    check.wait(step("contending"), 30)

    consul.stop()

    assert check.process.wait(60) == 4
    assert not [line for line in check.lines if step("verdict")(line)]


def test_check_rejects_an_unusable_store_before_any_case(tmp_path: Path) -> None:
    """A store in one process is wrong usage (2), a store that is away is exit code 4."""
    done = run("check", "memory://x")
    assert (done.code, done.out) == (2, "")
    assert "in one process only" in done.err
    done = run("check", "consul://:hunter2@127.0.0.1:1", "--timeout", "0.3")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err
    assert run("check", f"sqlite:///{tmp_path}/x.db", "--ttl", "-1").code == 2
    assert run("check", f"sqlite:///{tmp_path}/x.db", "--seconds", "0").code == 2


def test_check_rejects_a_ttl_that_the_store_refuses(consul: Consul) -> None:
    """The requested ttl is not silently replaced by a longer one."""
    done = run("check", consul.url, "--ttl", "0.5")

    assert (done.code, done.out) == (2, "")
    assert "session_ttl_min" in done.err


def test_check_chooses_the_shortest_ttl_that_the_store_accepts(
    start: Start, consul_server: ConsulFactory
) -> None:
    """The first record names the ttl, and how long a dead leader's claim lasts."""
    consul = consul_server(dev=True, config={"session_ttl_min": "10s"})
    check = start(QUICK, consul.url, "--json", script=FEW)

    begun = check.wait(step("begin"), 20)

    assert (begun.said["ttl"], begun.said["expires_within"]) == (10, 20)
    check.end(signal.SIGINT, 20)


def test_check_needs_no_test_framework(url: str) -> None:
    """The command imports no pytest, which users of the command do not have."""
    program = (
        "import sys; sys.modules['pytest'] = sys.modules['_pytest'] = None;"
        "from leadership_core.cli.check.runner import run_check; print('fine')"
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


def test_check_shows_a_counter_on_a_terminal(url: str) -> None:
    """One line is overwritten, and no line is printed for a case that passes."""
    ours, theirs = pty.openpty()
    words = [sys.executable, str(FEW), QUICK, url]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        escaped = b""
        while b"\n   " not in escaped.partition(b"2. Contention")[2]:
            escaped += os.read(ours, 4096)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 4096):
                escaped += piece
        assert process.wait(20) == 128 + signal.SIGTERM
    os.close(ours)

    assert b"   1/2  " in escaped
    assert b"   2/2  " in escaped
    assert b"put returns the entry that is read" in escaped
    assert b" ok " not in escaped
    assert escaped.count(b"leadership: clearing up what was created at the store") == 1


def test_check_prints_one_line_for_each_case(start: Start, url: str) -> None:
    """Each line describes the case and its outcome, and is printed when the case ends."""
    check = start(QUICK, url, "--json", script=FEW)

    lines = [check.wait(step("case", case=name, ok=True), 20) for name in QUICK.split(",")]

    assert all(isinstance(line, Line) and line.said["what"] for line in lines)
    check.end(signal.SIGINT, 20)
