"""Faults of links: messages are lost without an error."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.admin_tools import admin_of
from tests.support.recording import now
from tests.support.servers.link import Link
from tests.support.testbed import Pair, Testbed
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm
from tests.system.catalogue import ONE_SERVER, QUICK, scenario

_MARGIN = 0.5  # seconds, the least that is in force


def _cut_off(
    testbed: Testbed, what: str, cut: Callable[[Link], None], *, leases: float, led: bool = True
) -> None:
    """Cut off the leader until another one leads; then that one stops, and the first leads again."""
    pair = Pair.of(testbed)
    leader, link, other = pair.leader, pair.link, pair.other
    admin = admin_of(testbed.server)
    session = admin.holder(testbed.key)
    with testbed.fault(what) as fault:
        cut(link)
        cut_off = now()  # any renewal that counts was sent before
        after = testbed.await_leader(leases * testbed.ttl + 2, after=leader)
        assert after.worker is other
        wait_until(lambda: session not in admin.sessions(), 2, "the session is gone")
        time.sleep(max(0.0, 3 * testbed.ttl - (now() - fault.since) / 1e9))
        link.heal()
    _assert_over_in_time(testbed, leader, cut_off)
    if led:
        leader.worker.await_event("store_up", testbed.recovery)
    testbed.mark(f"stop {other.who}")
    other.stop()
    assert testbed.await_leader(after=after).worker is leader.worker
    testbed.finish()


def _assert_over_in_time(testbed: Testbed, leader: LeaderTerm, since: int) -> None:
    """Check that leadership ended by itself, before the store could have elected another."""
    (interval,) = (
        one for one in leader.worker.recording.read().intervals if one.token == leader.token
    )
    assert not interval.open
    assert (interval.until - since) / 1e9 < testbed.ttl - _MARGIN
    assert leader.worker.await_event("lost", 1).reason == "expired"


# -- 6: everything is swallowed ---------------------------------------------------------------


@scenario(6, on=ONE_SERVER, quick=ONE_SERVER, releases=True)
def test_06_everything_swallowed(testbed: Testbed) -> None:
    """All packets of the leader are lost without an error; it campaigns again when the link heals."""
    _cut_off(testbed, "the leader's packets are lost", Link.swallow, leases=testbed.times.leases)


@scenario(6, on=ONE_SERVER)
def test_06_interface_switched_off(testbed: Testbed) -> None:
    """The same in a network namespace, where root allows it: the kernel loses all packets."""
    space = testbed.network()
    link = testbed.link(space=space)
    far = testbed.candidate("far", link, within=space.words if space else ())
    leader = testbed.await_leader()
    near = testbed.candidate("near")

    with testbed.fault("the interface is off" if space else "packets are lost"):
        space.down() if space else link.swallow()
        assert testbed.await_leader(after=leader).worker is near
        testbed.sleep(2)
        space.up() if space else link.heal()

    far.await_event("store_up", testbed.recovery)
    after = testbed.await_leader()
    testbed.mark("stop near")
    near.stop()
    assert testbed.await_leader(after=after).worker is far
    testbed.finish()


@scenario(6, on=ONE_SERVER)
def test_06_next_in_line_swallowed(testbed: Testbed) -> None:
    """The leader stops while the next one is cut off: the one after that leads."""
    testbed.candidate("first")
    leader = testbed.await_leader()
    link = testbed.link()
    second = testbed.candidate("second", link)
    time.sleep(0.5)  # so that it is next
    third = testbed.candidate("third")
    time.sleep(0.5)

    with testbed.fault("the packets of the next candidate are lost"):
        link.swallow()
        leader.worker.stop()
        after = testbed.await_leader(
            testbed.times.failover(testbed.ttl) + testbed.ttl, after=leader
        )
        assert after.worker is third
        testbed.sleep(1)
        link.heal()

    second.await_event("store_up", testbed.recovery)
    assert second.recording.read().intervals == []
    testbed.mark("stop third")
    third.stop()
    assert testbed.await_leader(after=after).worker is second
    testbed.finish()


# -- 7 and 8: one way --------------------------------------------------------------------------


@scenario(7, on=ONE_SERVER, quick=QUICK)
def test_07_answers_lost(testbed: Testbed) -> None:
    """Renewals arrive and their answers are lost: the session must end nevertheless."""
    _cut_off(testbed, "answers are lost", lambda link: link.cut("down"), leases=3)


@scenario(8, on=ONE_SERVER, quick=QUICK)
def test_08_requests_lost(testbed: Testbed) -> None:
    """No request of the leader arrives."""
    _cut_off(testbed, "requests are lost", lambda link: link.cut("up"), leases=testbed.times.leases)


# -- 9: half open ------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [1.0, 0.0], ids=["idle ones", "all"])
@scenario(9, on=ONE_SERVER)
def test_09_watch_half_open(testbed: Testbed, idle: float) -> None:
    """A router drops the connections of the waiting candidate: it is still notified of its turn."""
    pair = Pair.of(testbed)
    time.sleep(1.2)  # so that there is nothing on its watch

    with testbed.fault("connections vanish"):
        pair.other_link.vanish(idle=idle)
    testbed.mark("stop the leader")
    pair.leader.worker.stop()

    assert testbed.await_leader(after=pair.leader).worker is pair.other
    testbed.finish()


@scenario(9, on=ONE_SERVER, quick=["consul"])
def test_09_leader_half_open(testbed: Testbed) -> None:
    """The leader's connections vanish and new ones work: with time enough, no term ends."""
    testbed.ttl = 4.0
    pair = Pair.of(testbed)

    with testbed.fault("connections vanish"):
        pair.link.vanish()
    testbed.sleep(1)

    assert testbed.await_leader().token == pair.leader.token
    assert pair.leader.worker.count("lost") == 0
    testbed.finish()
