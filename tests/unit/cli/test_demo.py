"""`leadership demo`: its steps, its own store, interruptions, and the check of its history."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from leadership_core.cli.candidate_processes import Message, count_readings, history_of
from leadership_core.testing import check_history
from tests.support.waiting import at_most
from tests.unit.cli.command import Done, environment, run

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shown:
    """One run on a store of the demo's own, as JSON, and one on a file, for people."""

    own: Done
    own_folder: Path
    file: Done
    url: str


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Run both at the same time: each takes ten seconds, most of them asleep."""
    folder = tmp_path_factory.mktemp("own")
    url = f"sqlite:///{tmp_path_factory.mktemp('file') / 'store.db'}"
    with ThreadPoolExecutor(2) as pool:
        own = pool.submit(run, "demo", "--json", extra={"TMPDIR": str(folder)}, timeout=120)
        file = pool.submit(run, "demo", url, timeout=120)
        return Shown(own.result(), folder, file.result(), url)


def test_demo_shows_a_crash_a_pause_and_a_resignation(demo_output: Shown) -> None:
    """The exit code is 0, and the facts are those of a real election."""
    done = demo_output.own
    assert (done.code, done.err) == (0, "")
    assert done.seconds < at_most(30.0)
    steps = [json.loads(line) for line in done.out.splitlines()]
    assert [one["step"] for one in steps] == [
        "store", "start", "elected", "kill", "elected", "pause", "elected", "continue", "resign",
        "elected", "summary",
    ]  # fmt: skip
    assert len(steps[1]["candidates"]) >= 3
    leaders = [one["leader"] for one in steps if one["step"] == "elected"]
    tokens = [one["token"] for one in steps if one["step"] == "elected"]
    assert all(before != after for before, after in pairwise(leaders))
    assert tokens == sorted(set(tokens))
    woke = steps[7]
    assert woke["is_leader"] is False
    assert woke["reason"] == "expired"
    assert woke["leader"] == leaders[1]
    assert steps[9]["seconds"] < at_most(0.5)
    assert 0.5 < steps[4]["seconds"] < at_most(3.5)
    assert [one["token"] for one in steps[10]["elections"]] == tokens


def test_demo_removes_its_own_store(demo_output: Shown) -> None:
    """The temporary folder is removed as well."""
    assert list(demo_output.own_folder.iterdir()) == []


def test_demo_on_a_store_of_the_user_prints_text_and_removes_its_key(demo_output: Shown) -> None:
    """The text names each step, and the key of the demo is deleted afterwards."""
    done = demo_output.file
    assert (done.code, done.err) == (0, "")
    for word in ("SIGKILL", "SIGSTOP", "SIGCONT", "SIGUSR1", "is_leader is False", "lost, expired"):
        assert word in done.out
    assert "All steps succeeded" in done.out
    key = done.out.partition("key ")[2].partition(",")[0]
    assert key.startswith("leadership-demo/")
    assert run("leader", demo_output.url, key).code == 3


@pytest.mark.parametrize(
    ("number", "code", "moment", "running"),
    [(signal.SIGINT, 130, "is elected", 3), (signal.SIGTERM, 143, "paused (SIGSTOP)", 2)],
)
def test_demo_leaves_nothing_behind_when_interrupted(
    number: signal.Signals, code: int, moment: str, running: int, tmp_path: Path
) -> None:
    """All candidate processes end, a paused one included, and the temporary folder is removed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core.cli", "demo"],
        env=environment({"TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while moment not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.5)
        candidates = _children(process.pid)
        assert running - 1 <= len(candidates) <= running  # the demo goes on meanwhile
        process.send_signal(number)
        _, err = process.communicate(timeout=at_most(15))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert err == ""
    assert not [pid for pid in candidates if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    """Return the running child processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return found


def test_demo_names_a_store_that_cannot_be_reached() -> None:
    """The exit code is 4 and the message one line, before any candidate is started."""
    done = run("demo", "consul://:hunter2@127.0.0.1:1")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def _led(name: str, token: int, first: float, last: float) -> Message:
    return Message(name, {"led": token, "first": first, "last": last, "readings": 10})


def _event(name: str, event: str, at: float, token: int | None = None) -> Message:
    return Message(name, {"event": event, "at": at, "token": token})


def _faults(*messages: Message, killed: dict[str, float] | None = None) -> list[str]:
    return check_history(history_of(messages, killed=killed or {}))


def _elected(name: str, token: int, at: float) -> list[Message]:
    return [_event(name, "campaigning", at), _event(name, "elected", at, token)]


def test_history_of_messages_with_two_leaders_has_a_fault() -> None:
    """Two overlapping reports of leadership make the demo fail."""
    events = [*_elected("a", 1, 1.0), *_elected("b", 2, 5.0)]
    assert _faults(*events, _led("b", 2, 5.1, 9.0), _led("a", 1, 1.0, 5.0)) == []
    (fault,) = _faults(*events, _led("a", 1, 1.0, 5.5), _led("b", 2, 5.0, 9.0))
    assert "two leaders for 500" in fault


def test_history_of_messages_lets_a_killed_leader_lead_until_its_death() -> None:
    """A killed candidate cannot report the end of its term."""
    events = [*_elected("a", 1, 1.0), *_elected("b", 2, 5.0)]
    messages = [*events, Message("a", {"leads": 1, "at": 1.0}), _led("b", 2, 5.0, 9.0)]
    assert _faults(*messages, killed={"a": 4.0}) == []
    (fault,) = _faults(*messages, killed={"a": 6.0})
    assert "two leaders" in fault


@pytest.mark.parametrize("tokens", [(5, 3), (5, 5)])
def test_history_of_messages_with_a_token_that_does_not_grow_has_a_fault(
    tokens: tuple[int, int],
) -> None:
    """A smaller token and a repeated one are both faults."""
    first, second = tokens
    events = [*_elected("a", first, 1.0), _event("a", "lost", 2.0), *_elected("b", second, 3.0)]
    assert _faults(*events, _led("a", first, 1.0, 2.0), _led("b", second, 3.0, 4.0))


def test_count_readings_adds_up_all_candidates() -> None:
    """The number of readings in the report is that of all candidates together."""
    assert count_readings([_led("a", 1, 1.0, 2.0), _led("b", 2, 3.0, 4.0)]) == 20
