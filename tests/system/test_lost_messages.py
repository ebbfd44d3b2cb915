"""Answers that are late or lost, and requests that are late."""

from __future__ import annotations

import signal
import time
from typing import Any, Literal

import pytest

from tests.support.admin_tools import admin_of
from tests.support.servers.link import Link
from tests.support.testbed import Pair, Testbed
from tests.support.waiting import wait_until
from tests.support.wire_patterns import entering, leaving, renewing
from tests.support.workers import Worker
from tests.system.catalogue import SERVERS_WITH_SESSIONS, scenario

Way = Literal["up", "down"]


def _later(variant: str, name: str = "") -> Any:
    """A variant for the long run only, on every store."""
    return pytest.param(variant, id=name or variant, marks=pytest.mark.soak)


_WAYS = pytest.mark.parametrize(
    "way", [pytest.param("up", id="the request"), _later("down", "the answer")]
)


def _assert_nothing_left(testbed: Testbed) -> None:
    """Check that the store has no claim once a lost one has had the time to expire."""
    admin = admin_of(testbed.server)
    wait_until(
        lambda: admin.holder(testbed.key) is None, testbed.times.pause + 1.0, "no claim is left"
    )


# -- 12: renewals -------------------------------------------------------------------------------


@_WAYS
@scenario(12, on=SERVERS_WITH_SESSIONS, quick=["consul"])
def test_12_renewal_later_than_the_lease(testbed: Testbed, way: Way) -> None:
    """It arrives after leadership has ended: the term is over although the store has renewed."""
    link = testbed.link()
    far = testbed.candidate("far", link)
    leader = testbed.await_leader()
    session = admin_of(testbed.server).holder(testbed.key)

    with testbed.fault("renewals are held up"):
        link.cut(way)
        far.await_event("lost", testbed.ttl + 0.5)
        time.sleep(0.2)
        link.heal()

    after = testbed.await_leader(after=leader)
    assert [one.token for one in far.recording.read().intervals] == [leader.token, after.token]
    assert admin_of(testbed.server).holder(testbed.key) != session
    testbed.finish()


@_WAYS
@scenario(12, on=SERVERS_WITH_SESSIONS)
def test_12_renewal_in_the_next_term(testbed: Testbed, way: Way) -> None:
    """It arrives in the next term, which continues; the old session is not kept alive."""
    pair = Pair.of(testbed)
    admin = admin_of(testbed.server)
    session = admin.holder(testbed.key)

    with testbed.fault("renewals are held up"):
        pair.link.cut(way)
        after = testbed.await_leader(after=pair.leader)
        pair.link.heal()

    wait_until(lambda: session not in admin.sessions(), testbed.times.pause, "its session ends")
    testbed.sleep(1)
    assert testbed.await_leader().token == after.token
    assert [one.token for one in pair.leader.worker.recording.read().intervals] == [
        pair.leader.token
    ]
    testbed.finish()


@scenario(12, on=SERVERS_WITH_SESSIONS)
def test_12_one_renewal_late(testbed: Testbed) -> None:
    """One is delayed for longer than the lease, and later ones are not: the term continues."""
    testbed.ttl = 5.0
    pair = Pair.of(testbed)

    with testbed.fault("a renewal is held up"):
        held = pair.link.hold(renewing(testbed))
        assert held.caught.wait(testbed.ttl)
        testbed.sleep(1.2)
        held.release()
    testbed.sleep(0.5)

    assert testbed.await_leader().token == pair.leader.token
    assert pair.leader.worker.count("lost") == 0
    testbed.finish()


# -- 13: entering -------------------------------------------------------------------------------


def _enter_unanswered(testbed: Testbed) -> tuple[Worker, Link]:
    """A candidate enters; the store applies it, and the answer is withheld."""
    link, admin = testbed.link(), admin_of(testbed.server)
    withheld = link.withhold(entering(testbed, "Frank"))
    frank = testbed.candidate("Frank", link)
    assert withheld.asked.wait(10)
    wait_until(lambda: admin.holder(testbed.key), 5, "it has entered")
    return frank, link


@pytest.mark.parametrize("how", ["silence", _later("reset")])
@scenario(13, on=SERVERS_WITH_SESSIONS, quick=["etcd"], releases=True)
def test_13_enter_unanswered(testbed: Testbed, how: str) -> None:
    """An unaware winner finds out or enters again; soon there is a leader."""
    with testbed.fault("the answer to the enter is lost"):
        frank, link = _enter_unanswered(testbed)
        if how == "reset":
            link.reset()

    assert testbed.await_leader().worker is frank
    testbed.candidate("next")
    testbed.finish()
    _assert_nothing_left(testbed)


@pytest.mark.parametrize("how", ["reachable", _later("cut off")])
@scenario(13, on=SERVERS_WITH_SESSIONS, quick=["zookeeper"])
def test_13_stopped_while_unanswered(testbed: Testbed, how: str) -> None:
    """The candidate stops meanwhile, and reports correctly whether its claim is released."""
    admin = admin_of(testbed.server)
    with testbed.fault("the answer to the enter is lost", heals=False):
        frank, link = _enter_unanswered(testbed)
        if how == "cut off":
            link.cut()
        frank.stop()
        done = frank.await_remark("errand", testbed.ttl + 5)["done"]
        assert not (done and admin.holder(testbed.key)), "it says that nothing is left"
    testbed.mark("Frank has given up")

    after = testbed.candidate("next")
    assert testbed.await_leader().worker is after
    testbed.finish()
    _assert_nothing_left(testbed)


@scenario(13, on=SERVERS_WITH_SESSIONS)
def test_13_killed_while_unanswered(testbed: Testbed) -> None:
    """Its claim, known to it or not, ends with its session."""
    with testbed.fault("the answer to the enter is lost", heals=False):
        frank, link = _enter_unanswered(testbed)
        link.cut()  # or it asks again, and finds out
    testbed.mark("SIGKILL Frank")
    frank.signal(signal.SIGKILL)

    after = testbed.candidate("next")
    assert testbed.await_leader(testbed.times.failover() + 1.0).worker is after
    testbed.finish()


@pytest.mark.parametrize("how", ["killed", "stopped"])
@scenario(13, on=SERVERS_WITH_SESSIONS)
def test_13_enter_arrives_late(testbed: Testbed, how: str) -> None:
    """It arrives after its sender's end, in another term: it delays no candidate for long."""
    link = testbed.link()
    with testbed.fault("the request to enter is held up", heals=False):
        held = link.hold(entering(testbed, "Frank"))
        frank = testbed.candidate("Frank", link)
        assert held.caught.wait(10)
        if how == "killed":
            frank.signal(signal.SIGKILL)
        else:
            frank.stop()
            frank.process.wait(testbed.ttl + 10)
        first = testbed.candidate("first")
        leader = testbed.await_leader()
        assert leader.worker is first
        testbed.candidate("second")
        held.release()
    time.sleep(0.5)

    assert testbed.await_leader().token == leader.token
    testbed.mark("stop the first")
    first.stop()
    testbed.await_leader(testbed.times.failover() + 1.0, after=leader)
    testbed.finish()
    _assert_nothing_left(testbed)


# -- 14: leaving --------------------------------------------------------------------------------


@scenario(14, on=SERVERS_WITH_SESSIONS, quick=["etcd"], releases=True)
def test_14_release_unanswered(testbed: Testbed) -> None:
    """The claim is released, and the answer is lost: the next one leads, then the first again."""
    pair = Pair.of(testbed)
    withheld = pair.link.withhold(leaving(testbed))

    with testbed.fault("the answer to the release is lost"):
        pair.leader.worker.signal(signal.SIGUSR1)
        assert withheld.asked.wait(5)
        after = testbed.await_leader(3.0, after=pair.leader)
        pair.leader.worker.await_remark("errand", testbed.ttl + 5)
        withheld.release()

    assert after.worker is pair.other
    testbed.mark("stop the next one")
    pair.other.stop()
    assert testbed.await_leader(after=after).worker is pair.leader.worker
    testbed.finish()
    _assert_nothing_left(testbed)


@pytest.mark.parametrize("how", ["reachable", _later("cut off")])
@scenario(14, on=SERVERS_WITH_SESSIONS, quick=["consul"])
def test_14_release_late(testbed: Testbed, how: str) -> None:
    """It arrives in the next term, which continues; the result of `resign` was correct."""
    pair, admin = Pair.of(testbed), admin_of(testbed.server)
    session = admin.holder(testbed.key)
    held = pair.link.hold(leaving(testbed))

    with testbed.fault("the release is held up"):
        pair.leader.worker.signal(signal.SIGUSR1)
        assert held.caught.wait(5)
        if how == "cut off":
            pair.link.cut()
        done = pair.leader.worker.await_remark("errand", testbed.ttl + 5)["done"]
        assert not (done and admin.holder(testbed.key) == session), "it says that it is released"
        after = testbed.await_leader(after=pair.leader)
        held.release()
        pair.link.heal()
    testbed.sleep(0.5)

    assert after.worker is pair.other
    assert testbed.await_leader().token == after.token
    testbed.finish()
    _assert_nothing_left(testbed)


@scenario(14, on=SERVERS_WITH_SESSIONS)
def test_14_release_lost(testbed: Testbed) -> None:
    """A stop without a connection reports no release; the lease ends the claim."""
    pair = Pair.of(testbed)

    with testbed.fault("nothing gets through"):
        pair.link.swallow()
        pair.leader.worker.stop()
        said = pair.leader.worker.await_remark("errand", testbed.ttl + 5)
        assert said["done"] is False
        assert testbed.await_leader(after=pair.leader).worker is pair.other
        assert pair.leader.worker.process.wait(testbed.ttl + 10) == 1

    testbed.finish()
    _assert_nothing_left(testbed)
