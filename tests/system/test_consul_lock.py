"""`consul lock` and a candidate on the same key: never two holders."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.oracle import assert_sound
from tests.support.paths import python_path
from tests.support.recording import Recording
from tests.support.servers.consul import Consul
from tests.support.waiting import wait_until
from tests.system.conftest import FleetFactory, TargetStore


class Lock:
    """A process of `consul lock`, whose child writes a recording."""

    def __init__(self, consul: Consul, folder: Path, prefix: str, number: int) -> None:
        entry = f"http://{consul.host}:{consul.port}/v1/kv/{prefix}/.lock?consistent"
        self.recording = Recording(folder / f"lock-{number}.recording", f"consul lock {number}")
        child = [sys.executable, "-m", "tests.system.lock_child", str(self.recording.file), entry]
        log = folder / f"lock-{number}.log"
        self.process = consul.cli_process(
            "lock", "-shell=false", f"-name={prefix}-{number}", prefix, *child, log=log
        )
        self._consul, self._name = consul, f"{prefix}-{number}"
        self.process.start()

    def await_waiting(self) -> None:
        """Wait until it has opened its session and waits for the lock."""

        def has_session() -> bool:
            sessions = self._consul.request("GET", "/v1/session/list").body
            return any(session["Name"].endswith(self._name) for session in sessions)

        wait_until(has_session, 10, "consul lock has a session")

    def await_belief(self, seconds: float) -> None:
        try:
            wait_until(lambda: self.recording.read().interval, seconds, "consul lock has the lock")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None

    def stop(self) -> None:
        """Send SIGTERM: it ends its child, then releases the lock."""
        self.process.terminate()
        # On a busy machine `consul lock` may be gone a moment before its child is.
        try:
            wait_until(lambda: not self.recording.read().interval, 10, "its child has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None


@pytest.fixture
def locks() -> Iterator[list[Lock]]:
    """Start `consul lock`; the processes are ended with the test."""
    started: list[Lock] = []
    yield started
    for lock in started:
        lock.process.terminate()


def test_consul_lock_and_candidate_alternate(
    make_fleet: FleetFactory,
    on_consul: TargetStore,
    consul: Consul,
    unique_key: str,
    tmp_path: Path,
    locks: list[Lock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each waits while the other is holder, and gets the lock when that releases it."""
    monkeypatch.setenv(*python_path().popitem())
    fleet = make_fleet(on_consul, key=f"{unique_key}/.lock")
    (ann,) = fleet.start_all("ann")
    leader = fleet.await_leader(10)

    for number in range(2):
        lock = Lock(consul, tmp_path, unique_key, number)
        locks.append(lock)
        lock.await_waiting()
        time.sleep(0.5)
        assert not lock.recording.read().intervals
        assert fleet.await_leader(1).token == leader.token

        if number == 1:
            ann.signal(signal.SIGKILL)  # the other way than in order
            (ann,) = fleet.start_all("ann")
        else:
            ann.signal(signal.SIGUSR1)
        lock.await_belief(2 * on_consul.ttl + 5)
        time.sleep(0.7)  # longer than the cooldown
        assert fleet.leader() is None

        lock.stop()
        leader = fleet.await_leader(10, after=leader)

    fleet.finish()
    assert_sound(
        [*(worker.recording for worker in fleet.workers), *(lock.recording for lock in locks)]
    )


def test_candidate_waits_for_consul_lock(
    make_fleet: FleetFactory,
    on_consul: TargetStore,
    consul: Consul,
    unique_key: str,
    tmp_path: Path,
    locks: list[Lock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key was created by `consul lock`."""
    monkeypatch.setenv(*python_path().popitem())
    locks.append(Lock(consul, tmp_path, unique_key, 1))
    locks[0].await_belief(10)
    fleet = make_fleet(on_consul, key=f"{unique_key}/.lock")
    fleet.start_all("ann")
    time.sleep(on_consul.ttl)
    assert fleet.leader() is None

    locks[0].stop()
    fleet.await_leader(10)
    fleet.finish()
    assert_sound([*(worker.recording for worker in fleet.workers), locks[0].recording])
