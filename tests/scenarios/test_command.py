"""The command line in the same situations: what it prints is the story that it lives."""

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

from tests.scenarios.conftest import Place, Report
from tests.scenarios.diary import Diary, Note
from tests.scenarios.fleet import ROOT, await_true
from tests.scenarios.places import on_all
from tests.scenarios.sweep import sweep
from tests.servers.process import Process

pytestmark = pytest.mark.slow

_CLI = [sys.executable, "-m", "leadership_core.cli"]


class Command:
    """`leadership elect --json` or `leadership follow --json`, and the lines that it prints."""

    def __init__(self, file: Path, *words: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.process = Process([*_CLI, *words, "--json"], file, {"PYTHONPATH": path})
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

    def diary(self) -> Diary:
        notes = [
            Note(int(line["time"] * 1e9), line["event"], line.get("token"), line.get("reason"))
            for line in self.lines()
        ]
        return Diary(self.process.log.with_suffix(".none"), self.who, notes=notes)


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Those that a test has started; they are killed at its end."""
    started: list[Command] = []
    yield started
    for command in started:
        command.process.kill()


@on_all
def test_elect_and_follow(
    commands: list[Command], place: Place, unique_key: str, tmp_path: Path, measured: Report
) -> None:
    """Crash, pause, resign and stop, as three processes and a follower tell them."""
    _elect_and_follow(commands, place, unique_key, tmp_path, measured)


def _elect_and_follow(
    commands: list[Command], place: Place, key: str, folder: Path, measured: Report
) -> None:
    follow = Command(folder / "follow.json", "follow", place.url, key)
    commands.append(follow)
    await_true("the first line", follow.lines, 15)
    assert follow.last_line()["leader"] is None

    racers = []
    for who in ("ann", "ben", "cat"):
        words = ["elect", place.url, key, who, "--ttl", str(place.ttl)]
        racers.append(Command(folder / f"{who}.json", *words))
    commands += racers
    for racer in racers:
        await_true(f"{racer.who} campaigns", racer.events, 15)
    first = _await_leader(racers, 0, 10)
    assert sum(racer.events().count("elected") for racer in racers) == 1

    killed = time.time()
    first.signal(signal.SIGKILL)
    racers.remove(first)
    second = _await_leader(racers, _token(first), place.times.failover() + 1)
    measured("SIGKILL to elected", second.last_line()["time"] - killed)
    assert second.last_line()["time"] - killed < place.times.failover()
    _await_followed(follow, second, place)

    second.signal(signal.SIGSTOP)
    (third,) = (racer for racer in racers if racer is not second)
    _await_leader([third], _token(second), place.times.pause + 2)
    second.signal(signal.SIGCONT)
    await_true("it says lost, and campaigns", lambda: _ends(second, "lost", "campaigning"), 5)

    third.signal(signal.SIGUSR1)
    again = _await_leader([second], _token(third), 5)
    await_true(
        "it says resigned, and campaigns", lambda: _ends(third, "resigned", "campaigning"), 5
    )
    told = time.time()
    again.signal(signal.SIGTERM)
    last = _await_leader([third], _token(again), 5)
    measured("SIGTERM to elected", last.last_line()["time"] - told)
    assert again.process.wait(10) == 0
    _await_followed(follow, last, place)

    last.signal(signal.SIGTERM)
    assert last.process.wait(10) == 0
    await_true("nobody leads", lambda: follow.last_line()["leader"] is None, 5)
    assert _leader(place.url, key).returncode == 3
    follow.signal(signal.SIGTERM)
    assert follow.process.wait(10) == 0

    ended = [racer.diary() for racer in racers]
    sweep([*ended, first.diary()], ended=ended)
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
        await_true(f"a leader with a token above {token}", is_led, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {[racer.lines() for racer in racers]}") from None
    return found[0]


def _await_followed(follow: Command, racer: Command, place: Place) -> None:
    line = {"leader": racer.who, "token": _token(racer)}
    await_true(f"the follower says {line}", lambda: line.items() <= follow.last_line().items(), 5)
    said = _leader(place.url, racer.lines()[0]["key"])
    assert (said.returncode, said.stdout) == (0, f"{racer.who}\n")


def _token(racer: Command) -> int:
    return max((line.get("token") or 0 for line in racer.lines()), default=0)


def _ends(racer: Command, *events: str) -> bool:
    # The store may have been down and up in between.
    told = [event for event in racer.events() if not event.startswith("store_")]
    return tuple(told[-len(events) :]) == events


def _leader(url: str, key: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [*_CLI, "leader", url, key],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
