"""The command line under faults: its output is the history of the election."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import on_all
from tests.support.oracle import assert_sound
from tests.support.paths import python_path
from tests.support.recording import RecordedEvent, Recording
from tests.support.servers.process import Process
from tests.support.waiting import at_most, wait_until
from tests.system.conftest import Report, TargetStore

pytestmark = pytest.mark.slow

_CLI = [sys.executable, "-m", "leadership_core.cli"]


class Command:
    """A process of `leadership elect --json` or `leadership follow --json`, with its output."""

    def __init__(self, file: Path, *words: str) -> None:
        self.process = Process([*_CLI, *words, "--json"], file, python_path())
        self.process.start()
        self.who = file.stem

    def lines(self) -> list[dict[str, Any]]:
        text = self.process.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    def last_line(self) -> dict[str, Any]:
        lines = self.lines()
        return lines[-1] if lines else {}

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def recording(self) -> Recording:
        events = [
            RecordedEvent(
                int(line["time"] * 1e9), line["event"], line.get("token"), line.get("reason")
            )
            for line in self.lines()
        ]
        return Recording(self.process.log.with_suffix(".none"), self.who, events=events)


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Start commands, which are killed at the end of the test."""
    started: list[Command] = []
    yield started
    for command in started:
        command.process.kill()


@on_all
def test_elect_and_follow(
    commands: list[Command], target: TargetStore, unique_key: str, tmp_path: Path, measured: Report
) -> None:
    """A crash, a pause, a resignation and a stop, as printed by three candidates and a follower."""
    _elect_and_follow(commands, target, unique_key, tmp_path, measured)


def _elect_and_follow(
    commands: list[Command], target: TargetStore, key: str, folder: Path, measured: Report
) -> None:
    follow = Command(folder / "follow.json", "follow", target.url, key)
    commands.append(follow)
    wait_until(follow.lines, 15, "the first line")
    assert follow.last_line()["leader"] is None

    racers = []
    for who in ("ann", "ben", "cat"):
        words = ["elect", target.url, key, who, "--ttl", str(target.ttl)]
        racers.append(Command(folder / f"{who}.json", *words))
    commands += racers
    for racer in racers:
        wait_until(racer.events, 15, f"{racer.who} campaigns")
    first = _await_leader(racers, 0, 10)
    assert sum(racer.events().count("elected") for racer in racers) == 1

    killed = time.time()
    first.signal(signal.SIGKILL)
    racers.remove(first)
    second = _await_leader(racers, _token(first), target.times.failover() + 1)
    measured("SIGKILL to elected", second.last_line()["time"] - killed)
    assert second.last_line()["time"] - killed < at_most(target.times.failover())
    _await_followed(follow, second, target)

    second.signal(signal.SIGSTOP)
    (third,) = (racer for racer in racers if racer is not second)
    _await_leader([third], _token(second), target.times.pause + 2)
    second.signal(signal.SIGCONT)
    wait_until(lambda: _ends(second, "lost", "campaigning"), 5, "it says lost, and campaigns")

    third.signal(signal.SIGUSR1)
    again = _await_leader([second], _token(third), 5)
    wait_until(
        lambda: _ends(third, "resigned", "campaigning"), 5, "it says resigned, and campaigns"
    )
    stopped = time.time()
    again.signal(signal.SIGTERM)
    last = _await_leader([third], _token(again), 5)
    measured("SIGTERM to elected", last.last_line()["time"] - stopped)
    assert again.process.wait(10) == 0
    _await_followed(follow, last, target)

    last.signal(signal.SIGTERM)
    assert last.process.wait(10) == 0
    wait_until(lambda: follow.last_line()["leader"] is None, 5, "there is no leader")
    assert _leader(target.url, key).returncode == 3
    follow.signal(signal.SIGTERM)
    assert follow.process.wait(10) == 0

    ended = [racer.recording() for racer in racers]
    assert_sound([*ended, first.recording()], ended=ended)
    followed = [line["leader"] for line in follow.lines()]
    assert followed.count(first.who) == 1
    assert followed[followed.index(first.who) + 1] != first.who


def _await_leader(racers: list[Command], token: int, seconds: float) -> Command:
    found: list[Command] = []

    def is_led() -> bool:
        found[:] = [
            racer
            for racer in racers
            if racer.events()[-1:] == ["elected"] and _token(racer) > token
        ]
        return bool(found)

    try:
        wait_until(is_led, seconds, f"a leader with a token above {token}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {[racer.lines() for racer in racers]}") from None
    return found[0]


def _await_followed(follow: Command, racer: Command, target: TargetStore) -> None:
    line = {"leader": racer.who, "token": _token(racer)}
    wait_until(lambda: line.items() <= follow.last_line().items(), 5, f"the follower says {line}")
    said = _leader(target.url, racer.lines()[0]["key"])
    assert (said.returncode, said.stdout) == (0, f"{racer.who}\n")


def _token(racer: Command) -> int:
    return max((line.get("token") or 0 for line in racer.lines()), default=0)


def _ends(racer: Command, *events: str) -> bool:
    # The store may have been down and up in between.
    seen = [event for event in racer.events() if not event.startswith("store_")]
    return tuple(seen[-len(events) :]) == events


def _leader(url: str, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_CLI, "leader", url, key],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
