"""Clocks: those that somebody sets, those that stand still in a suspended machine, wrong rates."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import ALL, SERVERS, scenario
from tests.faults.oddities.dial import Dial
from tests.faults.stand import Stand
from tests.scenarios.fleet import Reign, Worker
from tests.servers.link import Link

pytestmark = pytest.mark.slow

_HOUR = 3600.0
_SKEW = 0.04


@scenario(25, on=ALL, quick=["etcd"])
def test_25_wall_clock_jumps(stand: Stand) -> None:
    """An hour forth, an hour back, while it leads and while it waits: nothing comes of it."""
    dials = [Dial(stand.folder / who) for who in ("first", "second")]
    stand.candidate("first", odd=f"clocks.dialled:{dials[0].file}")
    reign = stand.leader()
    stand.candidate("second", odd=f"clocks.dialled:{dials[1].file}")

    for wall in (_HOUR, -_HOUR):
        with stand.fault(f"wall clocks are set by {wall:+g} s"):
            dials[0].set(wall=wall)
            dials[1].set(wall=-wall)
            stand.sleep(0.7 * stand.times.leases)
            assert stand.leader() == reign
    assert reign.worker.diary.names() == ["campaigning", "elected"]
    reign.worker.stop()
    stand.leader(after=reign)
    stand.finish()


@scenario(25, on=ALL)
def test_25_wall_clock_strobes(stand: Stand) -> None:
    """Set to and fro without end: the same term goes on, and hands over in time."""
    dial = Dial(stand.folder / "dial")
    first = stand.candidate("first", odd=f"clocks.strobes:{dial.file}")
    reign = stand.leader()
    stand.candidate("second", odd=f"clocks.dialled:{dial.file}")

    with stand.fault("the wall clock is set to and fro"):
        first.cue()
        stand.sleep(2 * stand.times.leases)
        assert stand.leader() == reign
        first.stop()
        stand.leader(5, after=reign)
    stand.finish()


@scenario(25, on=ALL, quick=["sqlite"])
def test_25_suspended(stand: Stand) -> None:
    """The monotonic clock has not moved meanwhile, and its first look says no all the same."""
    dial = Dial(stand.folder / "dial")
    first = stand.candidate("first", odd=f"clocks.dialled:{dial.file}", pause=0.0)
    reign = stand.leader()
    second = stand.candidate("second")

    with stand.paused(first):
        newer = stand.leader(after=reign)
        assert newer.worker is second
        stand.sleep(0.1)
        dial.set(monotonic=-(newer.since - reign.since) / 1e9)
    first.await_event("lost", stand.ttl + 5)
    assert first.diary.read().beliefs[0].until < newer.since
    second.stop()
    assert stand.leader(after=newer).worker is first
    stand.finish()


@scenario(25, on=ALL)
def test_25_all_suspended(stand: Stand) -> None:
    """The whole machine stands still: whoever led does not lead when it goes on, then one does."""
    dial = Dial(stand.folder / "dial")
    for who in ("first", "second", "third"):
        stand.candidate(who, odd=f"clocks.dialled:{dial.file}")
    reign = stand.leader()

    with stand.paused(*stand.fleet.workers):
        stand.sleep(stand.times.leases + 0.5)
        dial.set(monotonic=-(stand.times.leases + 0.5) * stand.ttl)

    reign.worker.await_event("lost", stand.ttl + 5)
    assert stand.leader(after=reign).token > reign.token
    stand.finish()


@scenario(25, on=ALL, quick=["consul"])
def test_25_boot_clock_jumps(stand: Stand) -> None:
    """As a virtual machine's does that is told how long it slept: belief is over in that instant.

    On one machine the clock jumps for all, the store in a file included.
    """
    dial = Dial(stand.folder / "dial")
    first = stand.candidate("first", odd=f"clocks.dialled:{dial.file}")
    reign = stand.leader()

    with stand.fault("the boot clock jumps by an hour"):
        dial.set(boot=_HOUR)
        assert first.await_event("lost", 5).reason == "expired"

    assert stand.leader(after=reign).worker is first
    stand.finish()


@pytest.mark.parametrize("rate", [1 - _SKEW, 1 + _SKEW], ids=["slow", "fast"])
@scenario(30, on=SERVERS)
def test_30_rates_apart(stand: Stand, rate: float) -> None:
    """A leader whose clock is slow or fast leads on; cut off, it is over before another leads."""
    link = stand.link()
    reign, second = _lead_by_a_clock(stand, link, rate)

    stand.sleep(1.5 * stand.times.leases)
    assert stand.leader() == reign
    assert reign.worker.diary.names() == ["campaigning", "elected"]
    assert not second.count("elected")
    _cut_off(stand, link, reign)


@scenario(30, on=SERVERS, quick=["zookeeper"])
def test_30_slow_clock(stand: Stand) -> None:
    """By half of what the margin is for: belief is over before the store elects another."""
    link = stand.link()
    reign, _ = _lead_by_a_clock(stand, link, 0.88)  # the margin is a quarter of these short ttl
    _cut_off(stand, link, reign)


def _lead_by_a_clock(stand: Stand, link: Link, rate: float) -> tuple[Reign, Worker]:
    dial = Dial(stand.folder / "dial")
    dial.set(rate=rate)
    first = stand.candidate("first", link, odd=f"clocks.dialled:{dial.file}")
    reign = stand.leader()
    assert reign.worker is first
    return reign, stand.candidate("second")


def _cut_off(stand: Stand, link: Link, reign: Reign) -> None:
    with stand.fault("first is cut off") as fault:
        link.cut()
        newer = stand.leader(after=reign)
        assert newer.worker is not reign.worker
        stand.sleep(0.2)
        link.heal()
    reign.worker.await_event("lost", 5)
    # Servers go on with a claim for longer than they promise; belief is over by what they promise.
    believed = (reign.worker.diary.read().beliefs[0].until - fault.since) / 1e9
    assert believed < stand.ttl
    stand.finish()


@scenario(30, on=ALL, quick=["consul"])
def test_30_same_name_twice(stand: Stand) -> None:
    """They are two: one leads, and the other one has a token of its own when its turn comes."""
    first = stand.candidate("same")
    reign = stand.leader()
    second = stand.candidate("same")
    stand.sleep(0.7)
    assert stand.leader() == reign
    assert not second.count("elected")

    first.stop()
    newer = stand.leader(5, after=reign)
    assert newer.worker is second
    stand.finish()


@scenario(30, on=ALL)
def test_30_same_name_again(stand: Stand) -> None:
    """One that is killed and started again does not take up its own claim: its term is a new one."""
    token = 0
    for _ in range(3):
        worker = stand.candidate("same")
        reign = stand.leader(after=token)
        with stand.paused(worker):  # its claim still stands when its namesake comes
            again = stand.candidate("same")
            token = stand.leader(after=reign).token
        stand.mark("SIGKILL both")
        worker.process.kill()
        again.process.kill()
    stand.candidate("same")
    stand.leader(after=token)
    stand.finish()
