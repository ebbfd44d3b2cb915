"""Faults of links: what is sent does not arrive, nor does the news of that."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.faults.catalogue import SERVERS, scenario
from tests.faults.pair import Pair
from tests.faults.stand import Stand
from tests.scenarios.fleet import Reign, await_true
from tests.scenarios.offices import office_of
from tests.servers.link import Link

_MARGIN = 0.5  # seconds, the least that is in force


def _cut_off(
    stand: Stand, what: str, cut: Callable[[Link], None], *, leases: float, led: bool = True
) -> None:
    """Cut off the leader until another one leads; then that one goes, and the first is back."""
    pair = Pair.of(stand)
    reign, link, other = pair.reign, pair.link, pair.other
    office = office_of(stand.server)
    session = office.holder(stand.key)
    with stand.fault(what) as fault:
        cut(link)
        after = stand.leader(leases * stand.ttl + 2, after=reign)
        assert after.worker is other
        await_true("the session is gone", lambda: session not in office.sessions(), 2)
        link.heal()
    _assert_over_in_time(stand, reign, fault.since)
    if led:
        reign.worker.await_event("store_up", stand.recovery)
    stand.mark(f"stop {other.who}")
    other.stop()
    assert stand.leader(after=after).worker is reign.worker
    stand.finish()


def _assert_over_in_time(stand: Stand, reign: Reign, since: int) -> None:
    """The belief ended by itself, before the store could have elected another."""
    (belief,) = (one for one in reign.worker.diary.read().beliefs if one.token == reign.token)
    assert not belief.open
    assert (belief.until - since) / 1e9 < stand.ttl - _MARGIN + 0.1
    assert reign.worker.await_event("lost", 1).reason == "expired"


# -- 6: everything is swallowed ---------------------------------------------------------------


@scenario(6, on=SERVERS, quick=["etcd"], releases=True)
def test_06_everything_swallowed(stand: Stand) -> None:
    """No packet of the leader gets through, nor is anybody told; it is back when they do again."""
    _cut_off(stand, "the leader's packets are lost", Link.swallow, leases=stand.times.leases)


@scenario(6, on=SERVERS)
def test_06_interface_switched_off(stand: Stand) -> None:
    """The same in a network of its own, where root allows, in which the kernel loses them all."""
    space = stand.network()
    link = stand.link(space=space)
    far = stand.candidate("far", link, within=space.words if space else ())
    reign = stand.leader()
    near = stand.candidate("near")

    with stand.fault("the interface is off" if space else "packets are lost"):
        space.down() if space else link.swallow()
        assert stand.leader(after=reign).worker is near
        stand.sleep(2)
        space.up() if space else link.heal()

    far.await_event("store_up", stand.recovery)
    after = stand.leader()
    stand.mark("stop near")
    near.stop()
    assert stand.leader(after=after).worker is far
    stand.finish()


@scenario(6, on=SERVERS)
def test_06_next_in_line_swallowed(stand: Stand) -> None:
    """The leader goes while the one that is next is cut off: the one after that gets its turn."""
    stand.candidate("first")
    reign = stand.leader()
    link = stand.link()
    second = stand.candidate("second", link)
    time.sleep(0.5)  # so that it is next
    third = stand.candidate("third")
    time.sleep(0.5)

    with stand.fault("the next one's packets are lost"):
        link.swallow()
        reign.worker.stop()
        after = stand.leader(stand.times.failover(stand.ttl) + stand.ttl, after=reign)
        assert after.worker is third
        stand.sleep(1)
        link.heal()

    second.await_event("store_up", stand.recovery)
    assert second.diary.read().beliefs == []
    stand.mark("stop third")
    third.stop()
    assert stand.leader(after=after).worker is second
    stand.finish()


# -- 7 and 8: one way --------------------------------------------------------------------------


@scenario(7, on=SERVERS, quick=["consul"])
def test_07_answers_lost(stand: Stand) -> None:
    """Renewals go on arriving, and nobody hears so: the session must end all the same."""
    _cut_off(stand, "answers are lost", lambda link: link.cut("down"), leases=3)


@scenario(8, on=SERVERS, quick=["zookeeper"])
def test_08_requests_lost(stand: Stand) -> None:
    """Answers would come, but nothing that the leader asks arrives."""
    _cut_off(stand, "requests are lost", lambda link: link.cut("up"), leases=stand.times.leases)


# -- 9: half open ------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [1.0, 0.0], ids=["idle ones", "all"])
@scenario(9, on=SERVERS)
def test_09_watch_half_open(stand: Stand, idle: float) -> None:
    """A router forgets the connections of the one that waits: it hears of its turn all the same."""
    pair = Pair.of(stand)
    time.sleep(1.2)  # so that there is nothing on its watch

    with stand.fault("connections vanish"):
        pair.other_link.vanish(idle=idle)
    stand.mark("stop the leader")
    pair.reign.worker.stop()

    assert stand.leader(after=pair.reign).worker is pair.other
    stand.finish()


@scenario(9, on=SERVERS, quick=["consul"])
def test_09_leader_half_open(stand: Stand) -> None:
    """The leader's connections vanish and new ones work: with time enough, no term ends."""
    stand.ttl = 4.0
    pair = Pair.of(stand)

    with stand.fault("connections vanish"):
        pair.link.vanish()
    stand.sleep(1)

    assert stand.leader().token == pair.reign.token
    assert pair.reign.worker.count("lost") == 0
    stand.finish()
