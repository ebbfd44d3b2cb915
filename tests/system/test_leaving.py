"""Resigning and stopping: repeatedly, concurrently, in each state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recording import Recording
from tests.support.testbed import Testbed
from tests.support.waiting import at_most, wait_until
from tests.support.workers import Worker
from tests.system.catalogue import EVERY, scenario

pytestmark = pytest.mark.slow

_PHASES = 11


@scenario(27, on=EVERY, seconds=300)
def test_27_resigning_a_thousand_times(testbed: Testbed) -> None:
    """Two candidates that resign whenever they are elected hand over to each other."""
    _to_and_fro(testbed, 1000)


@scenario(27, on=["etcd"], quick=["etcd"])
def test_27_resigning_to_and_fro(testbed: Testbed) -> None:
    """The same with fewer terms, in the usual run."""
    _to_and_fro(testbed, 100)


def _to_and_fro(testbed: Testbed, times: int) -> None:
    pair = [testbed.candidate(who, faulty="leaving.tired:0.01") for who in ("first", "second")]
    wait_until(lambda: sum(one.count("resigned") for one in pair) >= times, 280, f"{times} terms")
    # The second one may have started late, so it has its share of the terms in the end.
    share = times / 10
    wait_until(lambda: all(one.count("resigned") > share for one in pair), 30, "both have led")
    for worker in pair:
        worker.trigger()
    assert testbed.await_leader().token >= times
    assert sum(worker.count("lost") for worker in pair) == 0
    testbed.finish()


@scenario(27, on=EVERY, quick=["sqlite"])
def test_27_resigning_and_stopping_at_once(testbed: Testbed) -> None:
    """In four threads: each `stop` returns True, and nothing is left that blocks others."""
    count = 25
    host = testbed.candidate("host", faulty=f"leaving.races:{count},{testbed.folder}")
    testbed.await_leader()
    host.trigger()

    for number in range(count):
        said = host.await_remark("guest", 30, after=number)
        assert all(said["confirmed"]), said
    _join_guests(testbed, host, [f"guest-{number}" for number in range(count)])
    testbed.candidate("next")
    testbed.await_leader(2)
    testbed.finish()


@scenario(27, on=EVERY, quick=["consul"])
def test_27_stopped_in_each_phase(testbed: Testbed) -> None:
    """Each stop is confirmed within a ttl, and so is a second one; the next candidate leads at once."""
    host = testbed.candidate("host", faulty=f"leaving.stops_in_each_phase:{testbed.folder}")
    testbed.await_leader()
    host.trigger()

    remarks = [host.await_remark("phase", 30, after=number) for number in range(_PHASES)]
    for said in remarks:
        assert said["reached"], said
        assert said["confirmed"] == [True, True], said
        assert said["took"] < testbed.ttl + at_most(0.5), said
    _join_guests(
        testbed, host, [said["phase"].lower() for said in remarks if said["phase"] != "IDLE"]
    )
    testbed.candidate("next")
    testbed.await_leader(2)
    testbed.finish()


@scenario(27, on=EVERY)
def test_27_stopped_twice(testbed: Testbed) -> None:
    """Two signals in quick succession stop a leader and a waiting candidate."""
    first = testbed.candidate("first")
    testbed.await_leader()
    second = testbed.candidate("second")
    for worker in (second, first):
        worker.stop()
        worker.stop()
    for worker in (second, first):
        assert worker.process.wait(testbed.ttl + 5) == 0, worker.describe()
    testbed.finish()


def _join_guests(testbed: Testbed, host: Worker, names: list[str]) -> None:
    recordings = [Recording(Path(testbed.folder, f"{name}.recording"), name) for name in names]
    for guest in testbed.fleet.join(host.process, recordings):
        guest.ending = True
