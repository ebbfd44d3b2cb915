"""A store that has too much to do: it says so, and is asked no more often for that."""

from __future__ import annotations

import signal
import time

from tests.faults.catalogue import SERVERS, scenario
from tests.faults.overload import Occupants, Overload, overload_of
from tests.faults.pair import Pair
from tests.faults.stand import Stand
from tests.faults.test_rough_links import assert_no_hot_loop
from tests.servers.link import Link


def _pair(stand: Stand) -> tuple[Pair, Overload]:
    overload = overload_of(stand)
    pair = Pair.of(stand, to=overload)
    if isinstance(overload, Occupants):
        overload.broken = lambda: _reset(*pair.links)
    return pair, overload


def _reset(*links: Link) -> None:
    for link in links:
        link.reset()


@scenario(34, on=SERVERS, quick=["consul"])
def test_34_overloaded(stand: Stand) -> None:
    """For longer than a lease: belief ends in time, nobody asks in a hot loop, and all heals."""
    pair, overload = _pair(stand)

    began = time.monotonic()
    with stand.fault("overloaded") as fault:
        overload.begin()
        stand.sleep(1.3)
        assert stand.fleet.reign() is None
        ended = time.monotonic()
        overload.end()

    (belief, *_) = pair.reign.worker.diary.read().beliefs
    assert (belief.until - fault.since) / 1e9 < stand.ttl - 0.5 + 0.3
    stand.leader(after=pair.reign)
    for link in pair.links:
        assert_no_hot_loop(link, began, ended)
    stand.finish()


@scenario(34, on=SERVERS)
def test_34_overloaded_for_long(stand: Stand) -> None:
    """For 15 s: the longer it lasts, the less often it is asked."""
    pair, overload = _pair(stand)

    began = time.monotonic()
    with stand.fault("overloaded"):
        overload.begin()
        time.sleep(15.0)
        ended = time.monotonic()
        overload.end()

    for link in pair.links:
        assert_no_hot_loop(link, began, ended)
        assert link.most_within(5.0, since=began + 5.0, until=ended) <= 5 * 5.0
    stand.finish()


@scenario(34, on=SERVERS)
def test_34_overloaded_for_a_moment(stand: Stand) -> None:
    """For less than a lease: the term goes on."""
    stand.ttl = 5.0
    pair, overload = _pair(stand)

    with stand.fault("overloaded"):
        overload.begin()
        stand.sleep(0.3)
        overload.end()
    stand.sleep(1)

    assert stand.leader().token == pair.reign.token
    assert pair.reign.worker.count("lost") == 0
    stand.finish()


@scenario(34, on=("consul", "etcd"))
def test_34_overloaded_now_and_then(stand: Stand) -> None:
    """Half of all requests are turned away for five leases, while the leader resigns thrice."""
    pair, overload = _pair(stand)

    began = time.monotonic()
    with stand.fault("half is turned away"):
        overload.begin(0.5)
        for _ in range(3):
            stand.sleep(1)
            stand.leader().worker.signal(signal.SIGUSR1)
        stand.sleep(2)
        ended = time.monotonic()
        overload.end()

    for link in pair.links:
        assert_no_hot_loop(link, began, ended, handovers=3)
    stand.finish()


@scenario(34, on=SERVERS)
def test_34_overloaded_from_the_start(stand: Stand) -> None:
    """Who comes while it is overloaded waits, and leads when it is not."""
    overload = overload_of(stand)
    link = stand.link(to=overload)
    with stand.fault("overloaded"):
        overload.begin()
        time.sleep(0.5)
        first = stand.candidate("first", link)
        began = time.monotonic()
        stand.sleep(2)
        ended = time.monotonic()
        assert first.count("store_down") == 1
        overload.end()

    assert stand.leader().worker is first
    assert_no_hot_loop(link, began, ended)
    stand.finish()
