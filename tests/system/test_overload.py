"""Overload: a store that rejects requests is not sent more of them."""

from __future__ import annotations

import signal
import time

from tests.support.overload import Occupants, Overload, overload_of
from tests.support.servers.link import Link
from tests.support.testbed import Pair, Testbed
from tests.system.catalogue import SERVERS, SERVERS_WITH_SESSIONS, scenario
from tests.system.test_lossy_networks import assert_no_hot_loop


def _pair(testbed: Testbed) -> tuple[Pair, Overload]:
    overload = overload_of(testbed)
    pair = Pair.of(testbed, to=overload)
    if isinstance(overload, Occupants):
        overload.broken = lambda: _reset(*pair.links)
    return pair, overload


def _reset(*links: Link) -> None:
    for link in links:
        link.reset()


# Not on Redis: in the first seconds its threads for requests, notifications and heartbeats try again independently,
# up to 13 times a second together; `test_34_overloaded_for_long` bounds what follows.
@scenario(34, on=[*SERVERS, "postgres"], quick=["consul"])
def test_34_overloaded(testbed: Testbed) -> None:
    """Longer than a lease: leadership ends in time, there is no hot loop, and all candidates recover."""
    pair, overload = _pair(testbed)

    began = time.monotonic()
    with testbed.fault("overloaded") as fault:
        overload.begin()
        testbed.sleep(1.3)
        assert testbed.fleet.leader() is None
        ended = time.monotonic()
        overload.end()

    (interval, *_) = pair.leader.worker.recording.read().intervals
    assert (interval.until - fault.since) / 1e9 < testbed.ttl - 0.5 + 0.3
    testbed.await_leader(after=pair.leader)
    for link in pair.links:
        assert_no_hot_loop(link, began, ended)
    testbed.finish()


@scenario(34, on=SERVERS_WITH_SESSIONS)
def test_34_overloaded_for_long(testbed: Testbed) -> None:
    """For 15 s: the longer it lasts, the fewer requests are sent."""
    pair, overload = _pair(testbed)

    began = time.monotonic()
    with testbed.fault("overloaded"):
        overload.begin()
        time.sleep(15.0)
        ended = time.monotonic()
        overload.end()

    for link in pair.links:
        assert_no_hot_loop(link, began, ended)
        assert link.most_within(5.0, since=began + 5.0, until=ended) <= 5 * 5.0
    testbed.finish()


@scenario(34, on=SERVERS_WITH_SESSIONS)
def test_34_overloaded_for_a_moment(testbed: Testbed) -> None:
    """Shorter than a lease: the term goes on."""
    testbed.ttl = 5.0
    pair, overload = _pair(testbed)

    with testbed.fault("overloaded"):
        overload.begin()
        testbed.sleep(0.3)
        overload.end()
    testbed.sleep(1)

    assert testbed.await_leader().token == pair.leader.token
    assert pair.leader.worker.count("lost") == 0
    testbed.finish()


@scenario(34, on=("consul", "etcd"))
def test_34_overloaded_now_and_then(testbed: Testbed) -> None:
    """Half of all requests are rejected for five leases, while the leader resigns three times."""
    pair, overload = _pair(testbed)

    began = time.monotonic()
    with testbed.fault("half is turned away"):
        overload.begin(0.5)
        for _ in range(3):
            testbed.sleep(1)
            testbed.await_leader().worker.signal(signal.SIGUSR1)
        testbed.sleep(2)
        ended = time.monotonic()
        overload.end()

    for link in pair.links:
        assert_no_hot_loop(link, began, ended, handovers=3)
    testbed.finish()


@scenario(34, on=SERVERS_WITH_SESSIONS)
def test_34_overloaded_from_the_start(testbed: Testbed) -> None:
    """A candidate started during the overload waits, and leads afterwards."""
    overload = overload_of(testbed)
    link = testbed.link(to=overload)
    with testbed.fault("overloaded"):
        overload.begin()
        time.sleep(0.5)
        first = testbed.candidate("first", link)
        began = time.monotonic()
        testbed.sleep(2)
        ended = time.monotonic()
        assert first.count("store_down") == 1
        overload.end()

    assert testbed.await_leader().worker is first
    assert_no_hot_loop(link, began, ended)
    testbed.finish()
