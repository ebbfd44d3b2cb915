"""Processes that have no descriptors or no memory left, for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.faults.catalogue import ALL, SERVERS, scenario
from tests.faults.stand import Stand
from tests.scenarios.fleet import Worker

pytestmark = pytest.mark.slow


@scenario(33, on=SERVERS, quick=["zookeeper"])
def test_33_no_descriptors(stand: Stand) -> None:
    """Its connections break and it can make no others: it loses, and stands again afterwards."""
    link = stand.link()
    first = stand.candidate("first", link, odd="hunger.descriptors:later", pause=0.02)
    reign = stand.leader()
    second = stand.candidate("second")

    with stand.fault("first has no descriptors"):
        first.cue()
        first.await_remark("starves", 5)
        before, at = _processor_seconds(first), time.monotonic()
        link.reset()
        newer = stand.leader(after=reign)
        assert newer.worker is second
        stand.sleep(0.5)
        busy = (_processor_seconds(first) - before) / (time.monotonic() - at)
        first.cue()
        first.await_remark("fed", 5)

    assert busy < 0.5, f"a hot loop: {busy:.0%} of a processor"
    assert first.process.log.stat().st_size < 100_000, "it has filled its log"
    second.stop()
    assert stand.leader(after=newer).worker is first
    stand.finish()


# Not on etcd: gRPC aborts a process in which it cannot have its first descriptors.
@scenario(33, on=["sqlite", "consul", "zookeeper"])
def test_33_no_descriptors_from_the_start(stand: Stand) -> None:
    """It cannot even connect, and says so; it is elected soon after it can."""
    with stand.fault("first has no descriptors"):
        first = stand.candidate("first", odd="hunger.descriptors:first")
        stand.sleep(1.0)
        assert not first.count("elected")
        first.cue()
        first.await_remark("fed", 5)

    assert stand.leader().worker is first
    stand.finish()


@scenario(33, on=["sqlite"], quick=["sqlite"])
def test_33_no_memory_at_a_line_of_a_renewal(stand: Stand) -> None:
    """Wherever it strikes the thread that renews: the candidate leads, still or again."""
    stand.ttl = 1.0
    _strike(stand, every=9, times=4)


@scenario(33, on=ALL)
def test_33_no_memory_at_any_line_of_a_renewal(stand: Stand) -> None:
    """Likewise, at every other line of what a renewal is in the core, and further down."""
    _strike(stand, every=2, times=16)


def _strike(stand: Stand, *, every: int, times: int) -> None:
    alone = stand.candidate("alone", odd=f"hunger.memory:leadership-renew/{every}")
    for number in range(times):
        stand.leader()
        with stand.fault("no memory in one line of a renewal"):
            alone.cue()
            alone.await_remark("raised", stand.ttl + 5, after=number)
    stand.finish()


@scenario(33, on=ALL)
def test_33_no_memory_at_all(stand: Stand) -> None:
    """Nothing can be allocated: it may die of that, and the other one leads then."""
    first = stand.candidate("first", odd=f"hunger.all_memory:{stand.times.pause}")
    stand.leader()
    stand.candidate("second")

    with stand.fault("first has no memory"):
        first.cue()
        stand.sleep(stand.times.leases + 1)
    if first.process.alive:
        first.process.kill()  # who knows which of its threads have ended

    assert stand.leader().worker.who == "2-second"
    stand.finish()


def _processor_seconds(worker: Worker) -> float:
    """What the process has used so far."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
