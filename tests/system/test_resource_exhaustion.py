"""Processes that run out of descriptors or memory for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.testbed import Testbed
from tests.support.workers import Worker
from tests.system.catalogue import SERVERS_WITH_SESSIONS, WITH_SESSIONS, scenario

pytestmark = pytest.mark.slow


@scenario(33, on=SERVERS_WITH_SESSIONS, quick=["zookeeper"])
def test_33_no_descriptors(testbed: Testbed) -> None:
    """Its connections break and it cannot open others: it loses, and campaigns again afterwards."""
    link = testbed.link()
    first = testbed.candidate(
        "first", link, faulty="resource_exhaustion.descriptors:later", pause=0.02
    )
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    with testbed.fault("first has no descriptors"):
        first.trigger()
        first.await_remark("starves", 5)
        before, at = _processor_seconds(first), time.monotonic()
        link.reset()
        newer = testbed.await_leader(after=leader)
        assert newer.worker is second
        testbed.sleep(0.5)
        busy = (_processor_seconds(first) - before) / (time.monotonic() - at)
        first.trigger()
        first.await_remark("fed", 5)

    assert busy < 0.5, f"a hot loop: {busy:.0%} of a processor"
    assert first.process.log.stat().st_size < 100_000, "it has filled its log"
    second.stop()
    assert testbed.await_leader(after=newer).worker is first
    testbed.finish()


# Not on etcd: gRPC aborts a process in which it cannot have its first descriptors.
@scenario(33, on=["sqlite", "consul", "zookeeper", "postgres", "redis"])
def test_33_no_descriptors_from_the_start(testbed: Testbed) -> None:
    """It cannot connect, and reports that; it is elected soon after it can."""
    with testbed.fault("first has no descriptors"):
        first = testbed.candidate("first", faulty="resource_exhaustion.descriptors:first")
        testbed.sleep(1.0)
        assert not first.count("elected")
        first.trigger()
        first.await_remark("fed", 5)

    assert testbed.await_leader().worker is first
    testbed.finish()


@scenario(33, on=["sqlite"], quick=["sqlite"])
def test_33_no_memory_at_a_line_of_a_renewal(testbed: Testbed) -> None:
    """The error may hit any line of the renewing thread: the candidate leads, still or again."""
    testbed.ttl = 1.0
    _strike(testbed, every=9, times=4)


@scenario(33, on=WITH_SESSIONS)
def test_33_no_memory_at_any_line_of_a_renewal(testbed: Testbed) -> None:
    """The same at all other lines of a renewal, those of the backend included."""
    _strike(testbed, every=2, times=16)


def _strike(testbed: Testbed, *, every: int, times: int) -> None:
    alone = testbed.candidate(
        "alone", faulty=f"resource_exhaustion.memory:leadership-renew/{every}"
    )
    for number in range(times):
        testbed.await_leader()
        with testbed.fault("no memory in one line of a renewal"):
            alone.trigger()
            alone.await_remark("raised", testbed.ttl + 5, after=number)
    testbed.finish()


@scenario(33, on=WITH_SESSIONS)
def test_33_no_memory_at_all(testbed: Testbed) -> None:
    """Every allocation fails: the process may die, and the other one leads then."""
    first = testbed.candidate(
        "first", faulty=f"resource_exhaustion.all_memory:{testbed.times.pause}"
    )
    testbed.await_leader()
    testbed.candidate("second")

    with testbed.fault("first has no memory"):
        first.trigger()
        testbed.sleep(testbed.times.leases + 1)
    if first.process.alive:
        first.process.kill()  # who knows which of its threads have ended

    assert testbed.await_leader().worker.who == "2-second"
    testbed.finish()


def _processor_seconds(worker: Worker) -> float:
    """The processor time that the process has used so far."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
