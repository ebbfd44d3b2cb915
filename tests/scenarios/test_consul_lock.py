"""`consul lock` and a candidate on the same key never hold it together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import FleetFactory, Place
from tests.scenarios.diary import Diary
from tests.scenarios.fleet import ROOT, await_true
from tests.scenarios.sweep import sweep
from tests.servers.consul import Consul


class Lock:
    """`consul lock`, whose child writes a diary."""

    def __init__(self, consul: Consul, folder: Path, prefix: str, number: int) -> None:
        entry = f"http://{consul.host}:{consul.port}/v1/kv/{prefix}/.lock?consistent"
        self.diary = Diary(folder / f"lock-{number}.diary", f"consul lock {number}")
        child = [sys.executable, "-m", "tests.scenarios.lock_child", str(self.diary.file), entry]
        log = folder / f"lock-{number}.log"
        self.process = consul.cli_process(
            "lock", "-shell=false", f"-name={prefix}-{number}", prefix, *child, log=log
        )
        self._consul, self._name = consul, f"{prefix}-{number}"
        self.process.start()

    def await_waiting(self) -> None:
        """It has opened its session, and stands for the lock from then on."""

        def stands() -> bool:
            sessions = self._consul.request("GET", "/v1/session/list").body
            return any(session["Name"].endswith(self._name) for session in sessions)

        await_true("consul lock has a session", stands, 10)

    def await_belief(self, seconds: float) -> None:
        try:
            await_true("consul lock has the lock", lambda: self.diary.read().belief, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None

    def stop(self) -> None:
        """It ends its child, then releases the lock."""
        self.process.terminate()
        # On a busy machine `consul lock` may be gone a moment before its child is.
        try:
            await_true("its child has ended", lambda: not self.diary.read().belief, 10)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None


@pytest.fixture
def locks() -> Iterator[list[Lock]]:
    """Those that a test has started; they are ended."""
    started: list[Lock] = []
    yield started
    for lock in started:
        lock.process.terminate()


def test_consul_lock_and_a_candidate_take_turns(
    make_fleet: FleetFactory,
    on_consul: Place,
    consul: Consul,
    unique_key: str,
    tmp_path: Path,
    locks: list[Lock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each waits while the other holds it, and gets it when the other lets go."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    fleet = make_fleet(on_consul, key=f"{unique_key}/.lock")
    (ann,) = fleet.start_all("ann")
    reign = fleet.await_reign(10)

    for number in range(2):
        lock = Lock(consul, tmp_path, unique_key, number)
        locks.append(lock)
        lock.await_waiting()
        time.sleep(0.5)
        assert not lock.diary.read().beliefs
        assert fleet.await_reign(1).token == reign.token

        if number == 1:
            ann.signal(signal.SIGKILL)  # the other way than in order
            (ann,) = fleet.start_all("ann")
        else:
            ann.signal(signal.SIGUSR1)
        lock.await_belief(2 * on_consul.ttl + 5)
        time.sleep(0.7)  # longer than the cooldown
        assert fleet.reign() is None

        lock.stop()
        reign = fleet.await_reign(10, after=reign)

    fleet.finish()
    sweep([*(worker.diary for worker in fleet.workers), *(lock.diary for lock in locks)])


def test_a_candidate_waits_for_consul_lock(
    make_fleet: FleetFactory,
    on_consul: Place,
    consul: Consul,
    unique_key: str,
    tmp_path: Path,
    locks: list[Lock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key is one that `consul lock` has made."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    locks.append(Lock(consul, tmp_path, unique_key, 1))
    locks[0].await_belief(10)
    fleet = make_fleet(on_consul, key=f"{unique_key}/.lock")
    fleet.start_all("ann")
    time.sleep(on_consul.ttl)
    assert fleet.reign() is None

    locks[0].stop()
    fleet.await_reign(10)
    fleet.finish()
    sweep([*(worker.diary for worker in fleet.workers), locks[0].diary])
