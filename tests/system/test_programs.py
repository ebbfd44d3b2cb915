"""Callbacks of the program that raise, hang, resign, or campaign again."""

from __future__ import annotations

from contextlib import suppress

import pytest

from leadership_core import open_store
from tests.support.testbed import Testbed
from tests.support.waiting import at_most
from tests.support.workers import LeaderTerm, Worker
from tests.system.catalogue import ALL, SERVERS, scenario

_HANDOVER = 1.5  # seconds in which another one leads where no ttl has to expire


def _lead_by_work(testbed: Testbed, how: str) -> tuple[LeaderTerm, Worker]:
    first = testbed.candidate("first", faulty=f"calls.works:{how}")
    leader = testbed.await_leader()
    first.await_remark("works", 5)
    return leader, testbed.candidate("second")


@scenario(28, on=ALL, quick=["etcd"])
def test_28_work_raises(testbed: Testbed) -> None:
    """`lead` raises the error, and another candidate leads at once, without waiting for a ttl."""
    leader, second = _lead_by_work(testbed, "raises")
    first = leader.worker
    first.ending = True

    with testbed.fault("the work of first raises"):
        first.trigger()
        assert first.await_remark("lead_raised", 5)["lead_raised"] == "the work has failed"
        assert testbed.await_leader(_HANDOVER, after=leader).worker is second
    assert first.process.wait(5) == 0
    testbed.finish()


@pytest.mark.parametrize("how", ["resigns", "stops"])
@scenario(28, on=ALL)
def test_28_work_resigns(testbed: Testbed, how: str) -> None:
    """Or it stops: `stop` does not wait for it, and the release follows when it has returned."""
    leader, second = _lead_by_work(testbed, how)
    first = leader.worker
    first.ending = how == "stops"

    first.trigger()
    said = first.await_remark("did", 5)
    assert not said["led"]
    answer = first.remarks(how.rstrip("s") if how == "resigns" else "stop")[0]
    assert answer["took"] < at_most(0.5)
    assert answer["resign" if how == "resigns" else "stop"] is False
    assert testbed.await_leader(_HANDOVER, after=leader).worker is second
    testbed.finish()


@scenario(28, on=ALL)
def test_28_work_hangs_and_goes_on_leading(testbed: Testbed) -> None:
    """A hanging program is still leader: the same term goes on."""
    leader, second = _lead_by_work(testbed, f"hangs:{testbed.times.pause}")
    with testbed.fault("the work of first hangs"):
        leader.worker.trigger()
        assert leader.worker.await_remark("did", testbed.times.pause + 5)["led"]
    assert not second.count("elected")
    testbed.finish()


@scenario(28, on=SERVERS)
def test_28_work_hangs_beyond_its_lease(testbed: Testbed) -> None:
    """Cut off, it does not end its work in time: leadership ends nevertheless, and another one leads."""
    link = testbed.link()
    first = testbed.candidate("first", link, faulty=f"calls.works:hangs:{testbed.times.pause + 1}")
    leader = testbed.await_leader()
    first.await_remark("works", 5)
    testbed.candidate("second")

    with testbed.fault("first is cut off, and its work hangs"):
        link.cut()
        first.trigger()
        newer = testbed.await_leader(after=leader)
        assert newer.worker is not first
        link.heal()
    assert not first.await_remark("did", testbed.times.pause + 10)["led"]
    newer.worker.stop()
    assert testbed.await_leader(after=newer).worker is first
    testbed.finish()


@scenario(28, on=ALL)
def test_28_stopped_while_its_work_hangs(testbed: Testbed) -> None:
    """No other candidate is elected before the end of the work or of the lease."""
    leader, second = _lead_by_work(testbed, f"hangs:{testbed.times.pause + 3}")
    first = leader.worker
    first.trigger()
    testbed.sleep(0.2)

    with testbed.fault("first is asked to stop"):
        asked = testbed.mark("SIGTERM first")
        first.stop()
        newer = testbed.await_leader(after=leader)
    assert newer.worker is second
    # Its lease had been renewed a third of the ttl before, at the most.
    assert (newer.since - asked) / 1e9 > testbed.ttl * 0.4
    with suppress(AssertionError):
        first.process.wait(testbed.ttl + 10)
    testbed.finish()


@pytest.mark.parametrize("where", ["", ":elsewhere"], ids=["the same", "another"])
@scenario(28, on=ALL)
def test_28_work_campaigns_in_an_election(testbed: Testbed, where: str) -> None:
    """In another election it is elected, in its own one it waits; its term goes on in both cases."""
    leader, second = _lead_by_work(testbed, f"campaigns{where and f':{testbed.key}-elsewhere'}")
    leader.worker.trigger()
    said = leader.worker.await_remark("another", testbed.ttl + 5)
    assert said["another"] is bool(where)
    assert said["stopped"] is True
    assert leader.worker.await_remark("did", 5)["led"]
    assert testbed.await_leader(_HANDOVER, after=leader).worker is second
    testbed.finish()


@pytest.mark.parametrize("how", ["raises", "hangs", "resigns"])
@scenario(28, on=ALL)
def test_28_callback_of_a_watch(testbed: Testbed, how: str) -> None:
    """It may raise, hang or resign; raising and hanging do not end the leader's term."""
    hang = f":{testbed.times.pause}" if how == "hangs" else ""
    first = testbed.candidate("first", faulty=f"calls.watches:{how}{hang}")
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    with testbed.fault(f"callbacks of first: {how}"):
        first.trigger()
        first.await_remark("reported", 5)
        if how == "resigns":
            assert testbed.await_leader(_HANDOVER, after=leader).worker is second
        else:
            testbed.sleep(testbed.times.leases + 0.5)
            assert testbed.await_leader() == leader
    if how != "resigns":
        before = len(first.remarks("reported"))
        with open_store(testbed.url) as store:
            store.put(f"{testbed.key}-other", b"news")
        first.await_remark("reported", testbed.times.pause + 5, after=before)
    testbed.finish()
