"""Faults of clocks: set by an operator, suspended with the machine, wrong rates."""

from __future__ import annotations

import pytest

from tests.support.process_faults.clocks import Dial
from tests.support.servers.link import Link
from tests.support.testbed import Testbed
from tests.support.workers import LeaderTerm, Worker
from tests.system.catalogue import EVERY, ONE_SERVER, scenario

pytestmark = pytest.mark.slow

_OBSERVED = ("postgres", "redis")  # no clock of theirs ends a session
_HOUR = 3600.0
_SKEW = 0.04


@scenario(25, on=EVERY, quick=["etcd"])
def test_25_wall_clock_jumps(testbed: Testbed) -> None:
    """The wall clocks of leader and waiting candidate are set ahead or back by an hour, without effect."""
    dials = [Dial(testbed.folder / who) for who in ("first", "second")]
    testbed.candidate("first", faulty=f"clocks.dialled:{dials[0].file}")
    leader = testbed.await_leader()
    testbed.candidate("second", faulty=f"clocks.dialled:{dials[1].file}")

    for wall in (_HOUR, -_HOUR):
        with testbed.fault(f"wall clocks are set by {wall:+g} s"):
            dials[0].set(wall=wall)
            dials[1].set(wall=-wall)
            testbed.sleep(0.7 * testbed.times.leases)
            assert testbed.await_leader() == leader
    assert leader.worker.recording.names() == ["campaigning", "elected"]
    leader.worker.stop()
    testbed.await_leader(after=leader)
    testbed.finish()


@scenario(25, on=_OBSERVED, quick=["redis"])
def test_25_wall_clock_of_the_server_jumps(testbed: Testbed) -> None:
    """It is set ahead or back by an hour during terms, hand-overs and crashes, which take no longer."""
    set_clock = testbed.own_clock()
    for who in ("first", "second", "third"):
        testbed.candidate(who)
    leader = testbed.await_leader()

    for wall in (_HOUR, -_HOUR):
        with testbed.fault(f"the wall clock of the server is set by {wall:+g} s"):
            set_clock(wall)
            testbed.sleep(testbed.times.leases + 0.5)
            assert testbed.await_leader() == leader
            leader = testbed.resign(leader)
    for wall in (_HOUR, -_HOUR):
        leader = testbed.await_leader()
        testbed.mark("SIGKILL of the leader")
        leader.worker.process.kill()
        with testbed.fault(f"the wall clock of the server is set by {wall:+g} s"):
            set_clock(wall)
            testbed.await_leader(testbed.times.failover(), after=leader)
    testbed.finish()


@scenario(25, on=EVERY)
def test_25_wall_clock_strobes(testbed: Testbed) -> None:
    """It is set back and forth all the time: the same term goes on, and hands over in time."""
    dial = Dial(testbed.folder / "dial")
    first = testbed.candidate("first", faulty=f"clocks.strobes:{dial.file}")
    leader = testbed.await_leader()
    testbed.candidate("second", faulty=f"clocks.dialled:{dial.file}")

    with testbed.fault("the wall clock is set to and fro"):
        first.trigger()
        testbed.sleep(2 * testbed.times.leases)
        assert testbed.await_leader() == leader
        first.stop()
        testbed.await_leader(5, after=leader)
    testbed.finish()


@scenario(25, on=EVERY, quick=["sqlite"])
def test_25_suspended(testbed: Testbed) -> None:
    """The monotonic clock stands still in a suspension, and the first read says not leader."""
    dial = Dial(testbed.folder / "dial")
    first = testbed.candidate("first", faulty=f"clocks.dialled:{dial.file}", pause=0.0)
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    with testbed.paused(first):
        newer = testbed.await_leader(after=leader)
        assert newer.worker is second
        testbed.sleep(0.1)
        dial.set(monotonic=-(newer.since - leader.since) / 1e9)
    first.await_event("lost", testbed.ttl + 5)
    assert first.recording.read().intervals[0].until < newer.since
    second.stop()
    assert testbed.await_leader(after=newer).worker is first
    testbed.finish()


@scenario(25, on=EVERY)
def test_25_all_suspended(testbed: Testbed) -> None:
    """The whole machine is suspended: the leader is not leader when it resumes; then there is a new term."""
    dial = Dial(testbed.folder / "dial")
    for who in ("first", "second", "third"):
        testbed.candidate(who, faulty=f"clocks.dialled:{dial.file}")
    leader = testbed.await_leader()

    with testbed.paused(*testbed.fleet.workers):
        testbed.sleep(testbed.times.leases + 0.5)
        dial.set(monotonic=-(testbed.times.leases + 0.5) * testbed.ttl)

    leader.worker.await_event("lost", testbed.ttl + 5)
    assert testbed.await_leader(after=leader).token > leader.token
    testbed.finish()


@scenario(25, on=EVERY, quick=["consul"])
def test_25_boot_clock_jumps(testbed: Testbed) -> None:
    """A virtual machine learns how long it was suspended: leadership ends at once.

    On one machine the clock jumps for all, the store in a file included.
    """
    dial = Dial(testbed.folder / "dial")
    first = testbed.candidate("first", faulty=f"clocks.dialled:{dial.file}")
    leader = testbed.await_leader()

    with testbed.fault("the boot clock jumps by an hour"):
        dial.set(boot=_HOUR)
        assert first.await_event("lost", 5).reason == "expired"

    assert testbed.await_leader(after=leader).worker is first
    testbed.finish()


@pytest.mark.parametrize("rate", [1 - _SKEW, 1 + _SKEW], ids=["slow", "fast"])
@scenario(30, on=ONE_SERVER)
def test_30_rates_apart(testbed: Testbed, rate: float) -> None:
    """A leader with a slow or fast clock leads on; cut off, its term ends before the next one."""
    link = testbed.link()
    leader, second = _lead_by_a_clock(testbed, link, rate)

    testbed.sleep(1.5 * testbed.times.leases)
    assert testbed.await_leader() == leader
    assert leader.worker.recording.names() == ["campaigning", "elected"]
    assert not second.count("elected")
    _cut_off(testbed, link, leader)


@scenario(30, on=ONE_SERVER, quick=["zookeeper"])
def test_30_slow_clock(testbed: Testbed) -> None:
    """Slow by half of what the margin allows: leadership ends before the store elects another."""
    link = testbed.link()
    leader, _ = _lead_by_a_clock(testbed, link, 0.88)  # the margin is a quarter of these short ttl
    _cut_off(testbed, link, leader)


def _lead_by_a_clock(testbed: Testbed, link: Link, rate: float) -> tuple[LeaderTerm, Worker]:
    dial = Dial(testbed.folder / "dial")
    dial.set(rate=rate)
    first = testbed.candidate("first", link, faulty=f"clocks.dialled:{dial.file}")
    leader = testbed.await_leader()
    assert leader.worker is first
    return leader, testbed.candidate("second")


def _cut_off(testbed: Testbed, link: Link, leader: LeaderTerm) -> None:
    with testbed.fault("first is cut off") as fault:
        link.cut()
        newer = testbed.await_leader(after=leader)
        assert newer.worker is not leader.worker
        testbed.sleep(0.2)
        link.heal()
    leader.worker.await_event("lost", 5)
    # Servers keep a claim for longer than they promise; leadership ends by what they promise.
    led = (leader.worker.recording.read().intervals[0].until - fault.since) / 1e9
    assert led < testbed.ttl
    testbed.finish()


@scenario(30, on=EVERY, quick=["consul"])
def test_30_same_name_twice(testbed: Testbed) -> None:
    """Two candidates with one value: one leads, and the other has its own token later."""
    first = testbed.candidate("same")
    leader = testbed.await_leader()
    second = testbed.candidate("same")
    testbed.sleep(0.7)
    assert testbed.await_leader() == leader
    assert not second.count("elected")

    first.stop()
    newer = testbed.await_leader(5, after=leader)
    assert newer.worker is second
    testbed.finish()


@scenario(30, on=EVERY)
def test_30_same_name_again(testbed: Testbed) -> None:
    """A candidate that is killed and restarted does not adopt its old claim."""
    token = 0
    for _ in range(3):
        worker = testbed.candidate("same")
        leader = testbed.await_leader(after=token)
        with testbed.paused(worker):  # its claim is still valid when its namesake starts
            again = testbed.candidate("same")
            token = testbed.await_leader(after=leader).token
        testbed.mark("SIGKILL both")
        worker.process.kill()
        again.process.kill()
    testbed.candidate("same")
    testbed.await_leader(after=token)
    testbed.finish()
