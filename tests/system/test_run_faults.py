"""Faults around `leadership run`: no two children of different terms are alive at one time."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core import Fence, Fenced, open_store
from tests.conftest import ProxyFactory
from tests.support.backends import ALL, on_all_in_soak, on_servers
from tests.support.child_log import assert_one_term_at_a_time, lifetimes, overlaps, survivors
from tests.support.outages import database_of, locked
from tests.support.run_processes import RunFleet, RunProcess
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until
from tests.system.conftest import TargetStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # the waits grow with the load


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def fleet(target: TargetStore, unique_key: str, tmp_path: Path) -> Iterator[RunFleet]:
    """Processes of `leadership run`; at the end all are ended, whatever their state."""
    made = RunFleet(tmp_path / "run", target.url, unique_key, target.ttl)
    yield made
    made.close()


def leader_and_standby(fleet: RunFleet, *words: str) -> tuple[RunProcess, RunProcess, int]:
    """Start two processes; returns the leader, the other one, and the token.

    On a busy machine the first one may have lost its term while the other one was starting.
    """
    one = fleet.start(*words)
    fleet.wait_child()
    other = fleet.start(*words)
    other.wait("campaigning")
    token = fleet.wait_child()
    leader = fleet.leader(token)
    return leader, other if leader is one else one, token


def end_all(*runs: RunProcess) -> None:
    for run in runs:
        run.signal(signal.SIGTERM)
    assert [run.code() for run in runs] == [143] * len(runs)


@on_all_in_soak
def test_killed_parent(fleet: RunFleet, target: TargetStore) -> None:
    """Its child, a grandchild and a daemon die at once, although they ignore SIGTERM."""
    leader, standby, token = leader_and_standby(fleet, "ignore", "fork", "daemon")
    wait_until(lambda: len(lifetimes(fleet.log)[0].pids) == 3, 10, "three processes")
    first = set(lifetimes(fleet.log)[0].pids)
    leader.signal(signal.SIGKILL)
    leader.process.wait()
    wait_until(lambda: not first & set(survivors(fleet.log)), 5, "they are dead")

    fleet.wait_child(token, target.times.failover() + 5)
    end_all(standby)
    assert_one_term_at_a_time(fleet.log, terms=2)
    assert survivors(fleet.log) == {}


@on_all_in_soak
def test_stopped_parent(fleet: RunFleet, target: TargetStore) -> None:
    """The guard ends the child before the lease ends; the parent campaigns when it is continued."""
    leader, standby, token = leader_and_standby(fleet, "ignore", "fork")
    leader.signal(signal.SIGSTOP)
    second = fleet.wait_child(token, target.times.failover() + 5)
    leader.signal(signal.SIGCONT)

    leader.wait("campaigning", times=2)
    assert leader.wait("child_ended")["code"] == -signal.SIGKILL
    standby.signal(signal.SIGTERM)
    assert standby.code() == 143
    fleet.wait_child(second)
    end_all(leader)
    assert_one_term_at_a_time(fleet.log, terms=3)


def test_stopped_parent_and_guard_are_ruled_out_by_the_token(
    fleet: RunFleet, target: TargetStore, unique_key: str
) -> None:
    """Then two children are alive at one time, and the store refuses the writes of the older one."""
    leader, standby, token = leader_and_standby(fleet)
    guard = leader.guard
    os.kill(guard, signal.SIGSTOP)
    leader.signal(signal.SIGSTOP)
    second = fleet.wait_child(token)
    wait_until(lambda: overlaps(lifetimes(fleet.log)), 5, "two children are alive")
    with open_store(target.url) as store:
        with pytest.raises(Fenced):
            store.put(f"{unique_key}-data", b"old", fence=Fence(unique_key, token))
        store.put(f"{unique_key}-data", b"new", fence=Fence(unique_key, second))

    leader.signal(signal.SIGCONT)
    leader.wait("campaigning", times=2)
    (older, newer) = lifetimes(fleet.log)
    assert not older.pids & set(survivors(fleet.log)), "the parent has dealt with the child first"
    assert newer.pids & set(survivors(fleet.log))
    end_all(leader, standby)
    assert survivors(fleet.log) == {}


def test_killed_guard(fleet: RunFleet) -> None:
    """The kernel kills the child, the parent what is left, and it campaigns again."""
    run = fleet.start("ignore", "fork", "daemon")
    token = fleet.wait_child()
    wait_until(lambda: len(lifetimes(fleet.log)[0].pids) == 3, 10, "three processes")
    os.kill(run.guard, signal.SIGKILL)
    fleet.wait_child(token)
    run.wait("guard_lost")
    wait_until(lambda: len(lifetimes(fleet.log)[1].pids) == 3, 10, "three processes")
    os.kill(run.guard, signal.SIGKILL)
    run.wait("guard_lost", times=2)
    run.signal(signal.SIGTERM)

    assert run.code() == 143
    assert_one_term_at_a_time(fleet.log, terms=2)
    assert survivors(fleet.log) == {}


def test_guard_killed_while_there_is_no_child(fleet: RunFleet) -> None:
    """The next term starts another one."""
    leader, standby, token = leader_and_standby(fleet)
    os.kill(standby.guard, signal.SIGKILL)
    leader.signal(signal.SIGTERM)

    assert leader.code() == 143
    fleet.wait_child(token)
    end_all(standby)
    assert_one_term_at_a_time(fleet.log, terms=2)


def test_stopped_guard_holds_up_no_end(fleet: RunFleet) -> None:
    """A standby whose guard is stopped ends at once, and a leader as soon as it has waited for it."""
    leader, standby, _ = leader_and_standby(fleet, "ignore", "fork")
    for run in (standby, leader):
        os.kill(run.guard, signal.SIGSTOP)
        run.signal(signal.SIGTERM)
        assert run.code() == 143
    assert survivors(fleet.log) == {}


def test_stopped_guard_and_lost_store(fleet: RunFleet, target: TargetStore) -> None:
    """The parent does what the guard would have done, before the lease ends."""
    leader, standby, token = leader_and_standby(fleet, "ignore", "fork", "daemon")
    os.kill(leader.guard, signal.SIGSTOP)
    with locked(database_of(target.url)):
        leader.wait("guard_lost")
    fleet.wait_child(token)
    end_all(leader, standby)
    assert_one_term_at_a_time(fleet.log, terms=2)
    assert survivors(fleet.log) == {}


def test_stopped_guard_and_killed_parent(fleet: RunFleet) -> None:
    """The end of the parent continues the guard."""
    leader, standby, token = leader_and_standby(fleet, "ignore", "fork", "daemon")
    os.kill(leader.guard, signal.SIGSTOP)
    leader.signal(signal.SIGKILL)
    fleet.wait_child(token)
    end_all(standby)
    assert_one_term_at_a_time(fleet.log, terms=2)
    assert survivors(fleet.log) == {}


@on_servers
def test_parent_without_its_server(
    fleet: RunFleet,
    target: TargetStore,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
) -> None:
    """The child is asked to end, ends, and only then another one is started elsewhere."""
    link = proxy(shared.port)
    leader = fleet.start("fork", url=shared.url_at(link.port))
    token = fleet.wait_child()
    standby = fleet.start("fork")
    standby.wait("campaigning")
    link.cut()
    leader.wait("child_expiring")
    assert leader.wait("child_ended")["code"] == -signal.SIGTERM
    fleet.wait_child(token, target.times.failover() + 5)
    link.heal()
    leader.wait("campaigning", times=2)
    end_all(leader, standby)
    assert_one_term_at_a_time(fleet.log, terms=2)


def test_short_outage_ends_no_child(fleet: RunFleet, target: TargetStore) -> None:
    """A child goes on through renewals that are late."""
    run = fleet.start()
    token = fleet.wait_child()
    for _ in range(3):
        with locked(database_of(target.url)):
            time.sleep(target.ttl / 8)
        time.sleep(target.ttl / 2)
    assert [one.token for one in lifetimes(fleet.log)] == [token]
    assert "child_expiring" not in run.events
    end_all(run)


def test_parent_without_memory(fleet: RunFleet) -> None:
    """Whatever fails in it, its child ends before the next one starts, and nothing is left."""
    leader, standby, token = leader_and_standby(fleet, "ignore", "fork", "daemon")
    limits = resource.prlimit(leader.process.pid, resource.RLIMIT_AS)
    resource.prlimit(leader.process.pid, resource.RLIMIT_AS, (1, limits[1]))
    try:
        leader.signal(signal.SIGUSR1)
        fleet.wait_child(token, 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(leader.process.pid, resource.RLIMIT_AS, limits)
    end_all(standby)
    leader.signal(signal.SIGTERM)
    leader.code()
    assert_one_term_at_a_time(fleet.log, terms=2)
    assert survivors(fleet.log) == {}


def test_guard_and_child_without_memory(fleet: RunFleet) -> None:
    """A command that cannot be started for want of memory leaves the election to others."""
    limit = 400_000_000
    shell = f"ulimit -v {limit // 1024}; exec {sys.executable} -c 'x = bytearray({limit})'"
    run = fleet.start(command=["sh", "-c", shell])

    assert run.code() == 1
    assert "MemoryError" in str(run.messages)


RANDOM_WORDS = [(), ("ignore",), ("fork",), ("ignore", "fork", "daemon"), ("polite",), ("exit=0",)]


@pytest.mark.parametrize(
    ("kind", "seed", "faults"),
    [
        ("sqlite", 1, 8),
        *(
            pytest.param(kind, seed, 120, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])
            for kind in ALL
            for seed in (2, 3)
        ),
    ],
)
def test_random_faults(fleet: RunFleet, target: TargetStore, seed: int, faults: int) -> None:
    """Three processes are stopped, continued, killed and asked to resign in any order."""
    rng = random.Random(seed)
    runs = [fleet.start(*rng.choice(RANDOM_WORDS)) for _ in range(3)]
    stopped: dict[RunProcess, float] = {}

    def child_lives() -> bool:
        for run, when in list(stopped.items()):
            if time.monotonic() > when:
                run.signal(signal.SIGCONT)
                del stopped[run]
        for place, run in enumerate(runs):
            if run.process.poll() is not None:
                runs[place] = fleet.start(*rng.choice(RANDOM_WORDS))
                stopped.pop(run, None)
        lives = lifetimes(fleet.log)
        return bool(lives) and lives[-1].seconds_since_last < 0.3

    for _ in range(faults):
        wait_until(child_lives, 30, "a child")
        time.sleep(rng.uniform(0.0, 0.5))  # so that faults come at any time of a term
        run = rng.choice(runs)
        if run.process.poll() is not None:
            continue
        match rng.choice(["stop", "kill", "guard", "resign", "end", "lock", "nothing"]):
            case "stop":
                run.signal(signal.SIGSTOP)
                stopped[run] = time.monotonic() + rng.choice([0.1, 1, 3]) * target.ttl
            case "kill":
                run.signal(signal.SIGKILL)
            case "guard":
                with contextlib.suppress(OSError, ValueError):
                    os.kill(run.guard, signal.SIGKILL)
            case "resign":
                run.signal(signal.SIGUSR1)
            case "end":
                run.signal(signal.SIGTERM)
            case "lock" if target.url.startswith("sqlite"):
                with contextlib.suppress(Exception), locked(database_of(target.url)):
                    time.sleep(rng.choice([0.1, 1.2]) * target.ttl)
            case _:
                pass
    for run in runs:
        if run.process.poll() is None:
            run.signal(signal.SIGCONT)
            run.signal(signal.SIGTERM)
    for run in runs:
        run.code(30)
    assert_one_term_at_a_time(fleet.log, terms=faults // 8)
    wait_until(lambda: not survivors(fleet.log), 5, "nothing is left")
