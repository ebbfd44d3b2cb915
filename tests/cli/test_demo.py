"""`leadership demo`: it shows what it promises, and says so when it does not."""

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

from leadership_core.cli.evidence import check_history, history_of, readings
from leadership_core.cli.troupe import Line
from tests.cli.command import Done, environment, run
from tests.support.machine import at_most

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shown:
    """One run on a store of the demo's own, as JSON, and one on a file, for people."""

    own: Done
    own_folder: Path
    file: Done
    url: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Both at the same time, as each takes ten seconds, most of them asleep."""
    folder = tmp_path_factory.mktemp("own")
    url = f"sqlite:///{tmp_path_factory.mktemp('file') / 'store.db'}"
    with ThreadPoolExecutor(2) as pool:
        own = pool.submit(run, "demo", "--json", extra={"TMPDIR": str(folder)}, timeout=60)
        file = pool.submit(run, "demo", url, timeout=60)
        return Shown(own.result(), folder, file.result(), url)


def test_it_shows_a_crash_a_pause_and_a_resignation(shown: Shown) -> None:
    """Exit code 0, and the facts are those of a real election."""
    done = shown.own
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
    assert steps[9]["seconds"] < 0.5 < steps[4]["seconds"] < 3.5
    assert [one["token"] for one in steps[10]["elections"]] == tokens


def test_its_own_store_is_gone_afterwards(shown: Shown) -> None:
    """The temporary folder, too."""
    assert list(shown.own_folder.iterdir()) == []


def test_a_person_can_follow_it_on_a_store_of_theirs(shown: Shown) -> None:
    """It names what it does, and nothing of it is left there."""
    done = shown.file
    assert (done.code, done.err) == (0, "")
    for word in ("SIGKILL", "SIGSTOP", "SIGCONT", "SIGUSR1", "is_leader is False", "lost, expired"):
        assert word in done.out
    assert "All of it happened" in done.out
    key = done.out.partition("key ")[2].partition(",")[0]
    assert key.startswith("leadership-demo/")
    assert run("leader", shown.url, key).code == 3


@pytest.mark.parametrize(
    ("number", "code", "moment", "running"),
    [(signal.SIGINT, 130, "is elected", 3), (signal.SIGTERM, 143, "paused (SIGSTOP)", 2)],
)
def test_it_leaves_nothing_behind_when_it_is_interrupted(
    number: signal.Signals, code: int, moment: str, running: int, tmp_path: Path
) -> None:
    """Not even the candidate that is paused at that moment."""
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
        assert len(candidates) == running
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert err == ""
    assert not [pid for pid in candidates if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    """The processes that it has started and that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return found


def test_a_store_that_is_not_there_is_named() -> None:
    """Exit code 4 and one line, before anything is started."""
    done = run("demo", "consul://:hunter2@127.0.0.1:1")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def _believed(name: str, token: int, first: float, last: float) -> Line:
    return Line(name, {"believed": token, "first": first, "last": last, "readings": 10})


def _said(name: str, event: str, at: float, token: int | None = None) -> Line:
    return Line(name, {"event": event, "at": at, "token": token})


def _faults(*lines: Line, killed: dict[str, float] | None = None) -> list[str]:
    return check_history(history_of(lines, killed=killed or {}))


def _elected(name: str, token: int, at: float) -> list[Line]:
    return [_said(name, "campaigning", at), _said(name, "elected", at, token)]


def test_two_believers_at_one_time_are_not_overlooked() -> None:
    """The evidence that makes the demo fail, from what the candidates said."""
    told = [*_elected("a", 1, 1.0), *_elected("b", 2, 5.0)]
    assert _faults(*told, _believed("b", 2, 5.1, 9.0), _believed("a", 1, 1.0, 5.0)) == []
    (fault,) = _faults(*told, _believed("a", 1, 1.0, 5.5), _believed("b", 2, 5.0, 9.0))
    assert "two believers for 500" in fault


def test_one_that_was_killed_believed_until_then() -> None:
    """It could not say so itself."""
    told = [*_elected("a", 1, 1.0), *_elected("b", 2, 5.0)]
    lines = [*told, Line("a", {"believes": 1, "at": 1.0}), _believed("b", 2, 5.0, 9.0)]
    assert _faults(*lines, killed={"a": 4.0}) == []
    (fault,) = _faults(*lines, killed={"a": 6.0})
    assert "two believers" in fault


@pytest.mark.parametrize("tokens", [(5, 3), (5, 5)])
def test_a_token_that_does_not_grow_is_not_overlooked(tokens: tuple[int, int]) -> None:
    """Neither a smaller one, nor the same once more."""
    first, second = tokens
    lines = [*_elected("a", first, 1.0), _said("a", "lost", 2.0), *_elected("b", second, 3.0)]
    assert _faults(*lines, _believed("a", first, 1.0, 2.0), _believed("b", second, 3.0, 4.0))


def test_what_was_read_is_counted() -> None:
    """Of all candidates together."""
    assert readings([_believed("a", 1, 1.0, 2.0), _believed("b", 2, 3.0, 4.0)]) == 20
