"""Answers that come late or never, and requests that come late."""

from __future__ import annotations

import signal
import time
from typing import Any, Literal

import pytest

from tests.faults.catalogue import SERVERS, scenario
from tests.faults.marks import entering, leaving, renewing
from tests.faults.pair import Pair
from tests.faults.stand import Stand
from tests.scenarios.fleet import Worker, await_true
from tests.scenarios.offices import office_of
from tests.servers.link import Link

Way = Literal["up", "down"]


def _later(variant: str, name: str = "") -> Any:
    """A variant that only the long run has, on every store."""
    return pytest.param(variant, id=name or variant, marks=pytest.mark.soak)


_WAYS = pytest.mark.parametrize(
    "way", [pytest.param("up", id="the request"), _later("down", "the answer")]
)


def _assert_nothing_left(stand: Stand) -> None:
    """Once nobody stands any more, the store has no claim; soon, if one had to expire."""
    office = office_of(stand.server)
    await_true(
        "no claim is left", lambda: office.holder(stand.key) is None, stand.times.pause + 1.0
    )


# -- 12: renewals -------------------------------------------------------------------------------


@_WAYS
@scenario(12, on=SERVERS, quick=["consul"])
def test_12_renewal_later_than_the_lease(stand: Stand, way: Way) -> None:
    """It comes when the belief has ended: that term is over, whatever the store still says."""
    link = stand.link()
    far = stand.candidate("far", link)
    reign = stand.leader()
    session = office_of(stand.server).holder(stand.key)

    with stand.fault("renewals are held up"):
        link.cut(way)
        far.await_event("lost", stand.ttl + 0.5)
        time.sleep(0.2)
        link.heal()

    after = stand.leader(after=reign)
    assert [one.token for one in far.diary.read().beliefs] == [reign.token, after.token]
    assert office_of(stand.server).holder(stand.key) != session
    stand.finish()


@_WAYS
@scenario(12, on=SERVERS)
def test_12_renewal_in_the_next_term(stand: Stand, way: Way) -> None:
    """It comes when another one leads: that one goes on, and the old session is not kept."""
    pair = Pair.of(stand)
    office = office_of(stand.server)
    session = office.holder(stand.key)

    with stand.fault("renewals are held up"):
        pair.link.cut(way)
        after = stand.leader(after=pair.reign)
        pair.link.heal()

    await_true("its session ends", lambda: session not in office.sessions(), stand.times.pause)
    stand.sleep(1)
    assert stand.leader().token == after.token
    assert [one.token for one in pair.reign.worker.diary.read().beliefs] == [pair.reign.token]
    stand.finish()


@scenario(12, on=SERVERS)
def test_12_one_renewal_late(stand: Stand) -> None:
    """One is held up for longer than the lease, and those after it are not: nothing ends."""
    stand.ttl = 5.0
    pair = Pair.of(stand)

    with stand.fault("a renewal is held up"):
        held = pair.link.hold(renewing(stand))
        assert held.caught.wait(stand.ttl)
        stand.sleep(1.2)
        held.release()
    stand.sleep(0.5)

    assert stand.leader().token == pair.reign.token
    assert pair.reign.worker.count("lost") == 0
    stand.finish()


# -- 13: entering -------------------------------------------------------------------------------


def _enter_unanswered(stand: Stand) -> tuple[Worker, Link]:
    """Somebody enters, the store does it, and the answer does not come."""
    link, office = stand.link(), office_of(stand.server)
    withheld = link.withhold(entering(stand, "Frank"))
    frank = stand.candidate("Frank", link)
    assert withheld.asked.wait(10)
    await_true("it has entered", lambda: office.holder(stand.key), 5)
    return frank, link


@pytest.mark.parametrize("how", ["silence", _later("reset")])
@scenario(13, on=SERVERS, quick=["etcd"], releases=True)
def test_13_enter_unanswered(stand: Stand, how: str) -> None:
    """Who has won and does not know it either finds out or stands anew; somebody leads soon."""
    with stand.fault("the answer to the enter is lost"):
        frank, link = _enter_unanswered(stand)
        if how == "reset":
            link.reset()

    assert stand.leader().worker is frank
    stand.candidate("next")
    stand.finish()
    _assert_nothing_left(stand)


@pytest.mark.parametrize("how", ["reachable", _later("cut off")])
@scenario(13, on=SERVERS, quick=["zookeeper"])
def test_13_stopped_while_unanswered(stand: Stand, how: str) -> None:
    """It gives up in the meantime, and says honestly whether anything of it is left."""
    office = office_of(stand.server)
    with stand.fault("the answer to the enter is lost", heals=False):
        frank, link = _enter_unanswered(stand)
        if how == "cut off":
            link.cut()
        frank.stop()
        done = frank.await_remark("errand", stand.ttl + 5)["done"]
        assert not (done and office.holder(stand.key)), "it says that nothing is left"
    stand.mark("Frank has given up")

    after = stand.candidate("next")
    assert stand.leader().worker is after
    stand.finish()
    _assert_nothing_left(stand)


@scenario(13, on=SERVERS)
def test_13_killed_while_unanswered(stand: Stand) -> None:
    """What it has won, knowing it or not, ends with its session."""
    with stand.fault("the answer to the enter is lost", heals=False):
        frank, link = _enter_unanswered(stand)
        link.cut()  # or it asks again, and finds out
    stand.mark("SIGKILL Frank")
    frank.signal(signal.SIGKILL)

    after = stand.candidate("next")
    assert stand.leader(stand.times.failover() + 1.0).worker is after
    stand.finish()


@pytest.mark.parametrize("how", ["killed", "stopped"])
@scenario(13, on=SERVERS)
def test_13_enter_arrives_late(stand: Stand, how: str) -> None:
    """It arrives when its sender is gone and another one leads: it delays nobody for long."""
    link = stand.link()
    with stand.fault("the request to enter is held up", heals=False):
        held = link.hold(entering(stand, "Frank"))
        frank = stand.candidate("Frank", link)
        assert held.caught.wait(10)
        if how == "killed":
            frank.signal(signal.SIGKILL)
        else:
            frank.stop()
            frank.process.wait(stand.ttl + 10)
        first = stand.candidate("first")
        reign = stand.leader()
        assert reign.worker is first
        stand.candidate("second")
        held.release()
    time.sleep(0.5)

    assert stand.leader().token == reign.token
    stand.mark("stop the first")
    first.stop()
    stand.leader(stand.times.failover() + 1.0, after=reign)
    stand.finish()
    _assert_nothing_left(stand)


# -- 14: leaving --------------------------------------------------------------------------------


@scenario(14, on=SERVERS, quick=["etcd"], releases=True)
def test_14_release_unanswered(stand: Stand) -> None:
    """The store has released it, and the answer is lost: the next one leads, then the first."""
    pair = Pair.of(stand)
    withheld = pair.link.withhold(leaving(stand))

    with stand.fault("the answer to the release is lost"):
        pair.reign.worker.signal(signal.SIGUSR1)
        assert withheld.asked.wait(5)
        after = stand.leader(3.0, after=pair.reign)
        pair.reign.worker.await_remark("errand", stand.ttl + 5)
        withheld.release()

    assert after.worker is pair.other
    stand.mark("stop the next one")
    pair.other.stop()
    assert stand.leader(after=after).worker is pair.reign.worker
    stand.finish()
    _assert_nothing_left(stand)


@pytest.mark.parametrize("how", ["reachable", _later("cut off")])
@scenario(14, on=SERVERS, quick=["consul"])
def test_14_release_late(stand: Stand, how: str) -> None:
    """It arrives in the next term, which goes on; what resign said in the meantime was true."""
    pair, office = Pair.of(stand), office_of(stand.server)
    session = office.holder(stand.key)
    held = pair.link.hold(leaving(stand))

    with stand.fault("the release is held up"):
        pair.reign.worker.signal(signal.SIGUSR1)
        assert held.caught.wait(5)
        if how == "cut off":
            pair.link.cut()
        done = pair.reign.worker.await_remark("errand", stand.ttl + 5)["done"]
        assert not (done and office.holder(stand.key) == session), "it says that it is released"
        after = stand.leader(after=pair.reign)
        held.release()
        pair.link.heal()
    stand.sleep(0.5)

    assert after.worker is pair.other
    assert stand.leader().token == after.token
    stand.finish()
    _assert_nothing_left(stand)


@scenario(14, on=SERVERS)
def test_14_release_lost(stand: Stand) -> None:
    """Who stops while nothing gets through says that it is not released; the lease ends it."""
    pair = Pair.of(stand)

    with stand.fault("nothing gets through"):
        pair.link.swallow()
        pair.reign.worker.stop()
        said = pair.reign.worker.await_remark("errand", stand.ttl + 5)
        assert said["done"] is False
        assert stand.leader(after=pair.reign).worker is pair.other
        assert pair.reign.worker.process.wait(stand.ttl + 10) == 1

    stand.finish()
    _assert_nothing_left(stand)
