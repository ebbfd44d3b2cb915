"""Faults of the leading process: it is killed, paused, or not scheduled."""

from __future__ import annotations

import random
import signal
import time

import pytest

from leadership_core import open_store
from tests.support.testbed import Testbed
from tests.support.waiting import at_most, wait_until
from tests.support.workers import LeaderTerm, Worker
from tests.system.catalogue import ALL, EVERY, SERVERS, WITH_SESSIONS, scenario

pytestmark = pytest.mark.slow


@scenario(1, on=EVERY, quick=EVERY, releases=True)
def test_01_leader_killed(testbed: Testbed) -> None:
    """A killed leader is replaced when its lease ends, and one that is stopped at once."""
    _kill_and_stop_leaders(testbed)


@scenario(1, on=SERVERS)
def test_01_leader_killed_with_the_default_ttl_of_consul(testbed: Testbed) -> None:
    """The same with a ttl of 10 s, Consul's default minimum."""
    testbed.ttl = 10.0
    _kill_and_stop_leaders(testbed)


def _kill_and_stop_leaders(testbed: Testbed) -> None:
    fleet = testbed.fleet
    fleet.start_all("ann", "ben", "cat")
    leader = testbed.await_leader()
    assert sum(worker.interval() is not None for worker in fleet.workers) == 1

    killed = testbed.mark("SIGKILL the leader")
    leader.worker.signal(signal.SIGKILL)
    failover = testbed.times.failover()
    leader = testbed.await_leader(failover + 5, after=leader)
    assert (leader.since - killed) / 1e9 < at_most(failover)

    fleet.start_all("dan", "eve")
    handovers = []
    for _ in range(3):
        stopped = testbed.mark("stop the leader")
        leader.worker.stop()
        leader = testbed.await_leader(5, after=leader)
        handovers.append((leader.since - stopped) / 1e9)
    # The median: one of them may fall into a moment when the machine is busy.
    assert sorted(handovers)[1] < at_most(0.1)
    testbed.finish()


@scenario(1, on=EVERY)
def test_01_all_killed(testbed: Testbed) -> None:
    """A candidate that starts after all were killed leads in time: their claims are gone."""
    for who in ("first", "second", "third"):
        testbed.candidate(who)
    leader = testbed.await_leader()

    testbed.mark("SIGKILL all")
    for worker in testbed.fleet.workers:
        worker.signal(signal.SIGKILL)
    last = testbed.candidate("last")

    assert testbed.await_leader(after=leader).worker is last
    testbed.finish()


@scenario(2, on=EVERY, quick=EVERY)
def test_02_leader_paused(testbed: Testbed) -> None:
    """The first read after the pause says not leader, before any of its threads has run."""
    first = testbed.candidate(
        "first", pause=0.0
    )  # its next poll is the first that it does when it resumes
    leader = testbed.await_leader()
    testbed.candidate("second", pause=0.0)
    campaigns = first.count("campaigning")

    with testbed.paused(first):
        second = testbed.await_leader(testbed.times.pause + 5, after=leader)
        testbed.sleep(0.1)  # so that a poll that finds it leader would come while the second leads

    assert first.await_event("lost", 5).reason == "expired"
    first.await_event("campaigning", 5, after=campaigns)
    assert first.recording.read().intervals[0].until < second.since
    assert not first.recording.intervals[0].open
    second.worker.stop()
    assert testbed.await_leader(after=second).worker is first
    testbed.finish()


@scenario(2, on=EVERY)
def test_02_pauses_around_the_lease(testbed: Testbed) -> None:
    """Whatever the length of the pause, there are never two leaders."""
    for who in ("first", "second", "third"):
        testbed.candidate(who, pause=0.0002)
    rng = random.Random(2)
    lease = testbed.times.leases
    for part in (0.2, 0.5, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0):
        leader = testbed.await_leader()
        with testbed.paused(leader.worker, *rng.sample(testbed.fleet.workers, rng.randint(0, 1))):
            testbed.sleep(part * lease * rng.uniform(0.95, 1.05))
    testbed.finish()


@scenario(2, on=EVERY, quick=ALL)
def test_02_pauses_at_random(testbed: Testbed) -> None:
    """Processes are paused at any time, one, all or the leader: at most one of them leads."""
    testbed.ttl = 1.5 if testbed.kind == "zookeeper" else 1.0  # its margin is half a tick and more
    fleet, rng = testbed.fleet, random.Random(EVERY.index(testbed.kind) + 1)
    fleet.start_all("ann", "ben", "cat", pause=0.0002)
    testbed.await_leader()
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        # All of them now and then, as when the machine is suspended; the leader more often.
        leader = fleet.leader()
        leaders = [leader.worker] if leader else []
        group = rng.choice([fleet.workers, rng.sample(fleet.workers, 1), leaders])
        for worker in group:
            worker.signal(signal.SIGSTOP)
        time.sleep(rng.choice([0.05, 0.5, 1.2, 2.2]) * rng.uniform(0.8, 1.2))
        for worker in rng.sample(group, len(group)):
            worker.signal(signal.SIGCONT)
            time.sleep(rng.choice([0.0, 0.0, 0.1]))
        time.sleep(rng.uniform(0.0, 0.6))
    testbed.mark("the last pause is over")
    last = fleet.leader()
    wait_until(fleet.leader, 2 * testbed.ttl + 5, "there is a leader in the end")
    assert last is None or testbed.await_leader(1).token >= last.token
    testbed.finish()


@scenario(3, on=EVERY, quick=["etcd"])
def test_03_paused_before_the_engine_gets_the_answer(testbed: Testbed) -> None:
    """The store has elected it, and the answer is too late when it is read."""
    first, second = _pause_before_the_news(testbed, "engine")

    second.worker.stop()
    third = testbed.await_leader(after=second)
    assert third.worker is first
    # It is leader before it reads the event. The first event of that name is the one of this term.
    assert first.await_event("elected", 5).token == third.token
    testbed.finish()


@scenario(3, on=EVERY)
def test_03_paused_before_the_program_gets_the_event(testbed: Testbed) -> None:
    """The term has begun: its event is delivered late, and then the loss."""
    first, second = _pause_before_the_news(testbed, "program")

    assert first.await_event("lost", 5).reason == "expired"
    second.worker.stop()
    third = testbed.await_leader(after=second)
    assert third.worker is first
    assert first.await_event("elected", 5, after=1).token == third.token
    testbed.finish()


def _pause_before_the_news(testbed: Testbed, where: str) -> tuple[Worker, LeaderTerm]:
    """Pause a candidate until another one leads; returns both, resumed."""
    with testbed.fault("first is stopped when it has been elected"):
        first = testbed.candidate("first", faulty=f"pauses.before_the_news:{where}", pause=0.0)
        wait_until(lambda: first.process.frozen, 10, "it has stopped")
        testbed.candidate("second")
        second = testbed.await_leader()
        assert second.worker is not first
        testbed.sleep(0.1)
        first.process.resume()
    return first, second


@scenario(4, on=WITH_SESSIONS, quick=["zookeeper"])
def test_04_paused_between_check_and_write(testbed: Testbed) -> None:
    """It has read that it is leader; later the store refuses its write by the token."""
    first = testbed.candidate("first", faulty="pauses.writes:late")
    leader = testbed.await_leader()
    second = testbed.candidate("second", faulty="pauses.writes:now")

    with testbed.fault("first is stopped between its check and its write"):
        first.trigger()
        wait_until(lambda: first.process.frozen, 5, "it has stopped")
        newer = testbed.await_leader(after=leader)
        assert newer.worker is second
        second.trigger()
        second.await_remark("written", 5)
        first.process.resume()

    assert first.await_remark("refused", 10)["refused"] == leader.token
    assert not first.remarks("written")
    with open_store(testbed.url) as store:
        entry = store.get(f"{testbed.key}-work")
    assert entry is not None
    assert entry.value == b"second"
    testbed.finish()


@scenario(5, on=EVERY, quick=["sqlite"])
def test_05_interpreter_hogged(testbed: Testbed) -> None:
    """A call that blocks the interpreter for longer than the lease is like a pause."""
    seconds = testbed.times.pause + 0.5
    first = testbed.candidate("first", faulty=f"pauses.hogs:{seconds}", pause=0.0)
    testbed.await_leader()
    testbed.candidate("second")
    leader = testbed.await_leader()  # on a busy machine, of a newer term after so long a start
    assert leader.worker is first

    with testbed.fault("first lets no other thread run"):
        first.trigger()
        second = testbed.await_leader(after=leader)
        first.await_remark("hogged", seconds + 5)

    first.await_event("lost", 5)
    terms = {interval.token: interval for interval in first.recording.read().intervals}
    assert terms[leader.token].until < second.since
    second.worker.stop()
    assert testbed.await_leader(after=second).worker is first
    testbed.finish()


@scenario(5, on=EVERY)
def test_05_event_loop_blocked(testbed: Testbed) -> None:
    """A blocked event loop does not stop renewals: the same term goes on."""
    seconds = testbed.times.pause
    first = testbed.candidate("first", faulty=f"pauses.blocks_its_loop:{seconds}")
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    with testbed.fault("first blocks its event loop"):
        first.trigger()
        first.await_remark("blocked", seconds + 5)

    assert testbed.await_leader() == leader
    assert not second.count("elected")
    testbed.finish()
