"""What the program does when the library calls it: it raises, hangs, resigns, stands anew."""

from __future__ import annotations

from contextlib import suppress

import pytest

from leadership_core import open_store
from tests.faults.catalogue import ALL, SERVERS, scenario
from tests.faults.stand import Stand
from tests.scenarios.fleet import Reign, Worker

_HANDOVER = 1.5  # seconds in which another one leads where nobody has to wait for a ttl


def _lead_by_work(stand: Stand, how: str) -> tuple[Reign, Worker]:
    first = stand.candidate("first", odd=f"calls.works:{how}")
    reign = stand.leader()
    first.await_remark("works", 5)
    return reign, stand.candidate("second")


@scenario(28, on=ALL, quick=["etcd"])
def test_28_work_raises(stand: Stand) -> None:
    """The error comes out of `lead`, and another one leads at once, not after a ttl."""
    reign, second = _lead_by_work(stand, "raises")
    first = reign.worker
    first.ending = True

    with stand.fault("the work of first raises"):
        first.cue()
        assert first.await_remark("lead_raised", 5)["lead_raised"] == "the work has failed"
        assert stand.leader(_HANDOVER, after=reign).worker is second
    assert first.process.wait(5) == 0
    stand.finish()


@pytest.mark.parametrize("how", ["resigns", "stops"])
@scenario(28, on=ALL)
def test_28_work_resigns(stand: Stand, how: str) -> None:
    """Or stops: it is not waited for, and the release follows when the work has returned."""
    reign, second = _lead_by_work(stand, how)
    first = reign.worker
    first.ending = how == "stops"

    first.cue()
    said = first.await_remark("did", 5)
    assert not said["led"]
    answer = first.remarks(how.rstrip("s") if how == "resigns" else "stop")[0]
    assert answer["took"] < 0.5
    assert answer["resign" if how == "resigns" else "stop"] is False
    assert stand.leader(_HANDOVER, after=reign).worker is second
    stand.finish()


@scenario(28, on=ALL)
def test_28_work_hangs_and_goes_on_leading(stand: Stand) -> None:
    """That is its own affair: the same term goes on."""
    reign, second = _lead_by_work(stand, f"hangs:{stand.times.pause}")
    with stand.fault("the work of first hangs"):
        reign.worker.cue()
        assert reign.worker.await_remark("did", stand.times.pause + 5)["led"]
    assert not second.count("elected")
    stand.finish()


@scenario(28, on=SERVERS)
def test_28_work_hangs_beyond_its_lease(stand: Stand) -> None:
    """Cut off, it does not end its work in time: belief is over all the same, another one leads."""
    link = stand.link()
    first = stand.candidate("first", link, odd=f"calls.works:hangs:{stand.times.pause + 1}")
    reign = stand.leader()
    first.await_remark("works", 5)
    stand.candidate("second")

    with stand.fault("first is cut off, and its work hangs"):
        link.cut()
        first.cue()
        newer = stand.leader(after=reign)
        assert newer.worker is not first
        link.heal()
    assert not first.await_remark("did", stand.times.pause + 10)["led"]
    newer.worker.stop()
    assert stand.leader(after=newer).worker is first
    stand.finish()


@scenario(28, on=ALL)
def test_28_told_to_stop_while_its_work_hangs(stand: Stand) -> None:
    """Nobody else is elected before the work has ended or the lease: whatever comes first."""
    reign, second = _lead_by_work(stand, f"hangs:{stand.times.pause + 3}")
    first = reign.worker
    first.cue()
    stand.sleep(0.2)

    with stand.fault("first is told to stop"):
        asked = stand.mark("SIGTERM first")
        first.stop()
        newer = stand.leader(after=reign)
    assert newer.worker is second
    # Its lease had been renewed a third of the ttl before, at the most.
    assert (newer.since - asked) / 1e9 > stand.ttl * 0.4
    with suppress(AssertionError):
        first.process.wait(stand.ttl + 10)
    stand.finish()


@pytest.mark.parametrize("where", ["", ":elsewhere"], ids=["the same", "another"])
@scenario(28, on=ALL)
def test_28_work_stands_in_an_election(stand: Stand, where: str) -> None:
    """In another one it is elected; in its own one it waits in vain. Neither ends its term."""
    reign, second = _lead_by_work(stand, f"stands{where and f':{stand.key}-elsewhere'}")
    reign.worker.cue()
    said = reign.worker.await_remark("another", stand.ttl + 5)
    assert said["another"] is bool(where)
    assert said["stopped"] is True
    assert reign.worker.await_remark("did", 5)["led"]
    assert stand.leader(_HANDOVER, after=reign).worker is second
    stand.finish()


@pytest.mark.parametrize("how", ["raises", "hangs", "resigns"])
@scenario(28, on=ALL)
def test_28_callback_of_a_watch(stand: Stand, how: str) -> None:
    """One that raises or hangs does not end its own leader's term; from one it may resign."""
    hang = f":{stand.times.pause}" if how == "hangs" else ""
    first = stand.candidate("first", odd=f"calls.watches:{how}{hang}")
    reign = stand.leader()
    second = stand.candidate("second")

    with stand.fault(f"callbacks of first: {how}"):
        first.cue()
        first.await_remark("told", 5)
        if how == "resigns":
            assert stand.leader(_HANDOVER, after=reign).worker is second
        else:
            stand.sleep(stand.times.leases + 0.5)
            assert stand.leader() == reign
    if how != "resigns":
        before = len(first.remarks("told"))
        with open_store(stand.url) as store:
            store.put(f"{stand.key}-other", b"news")
        first.await_remark("told", stand.times.pause + 5, after=before)
    stand.finish()
