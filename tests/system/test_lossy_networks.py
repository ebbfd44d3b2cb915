"""Faults of links: resets, refusals, unresolved names, delay and loss."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.support.process_faults.names import NAME
from tests.support.servers.link import Link
from tests.support.testbed import Pair, Testbed
from tests.system.catalogue import SERVERS, scenario

_A_SECOND = 5.0  # requests, of a candidate, whatever goes wrong
_AT_ONCE = 15  # that may come at once, before that counts


def assert_no_hot_loop(link: Link, began: float, ended: float, *, handovers: int = 0) -> None:
    """Check that its candidate sent no more requests than allowed, however often they failed."""
    seconds = ended - began
    asked = link.most_within(seconds, since=began, until=ended)
    most = _A_SECOND * seconds + _AT_ONCE * (1 + handovers)
    assert asked <= most, f"{asked} requests in {seconds:.1f} s"


# -- 10: resets, refusals, names ---------------------------------------------------------------


@scenario(10, on=SERVERS, quick=["zookeeper"])
def test_10_storm_of_resets(testbed: Testbed) -> None:
    """No connection lives longer than a tenth of a second: there is no hot loop, and a leader afterwards."""
    links, rng = Pair.of(testbed).links, random.Random(10)

    began = time.monotonic()
    with testbed.fault("resets"):
        while time.monotonic() < began + 1.5 * testbed.ttl:
            for link in links:
                link.reset()
            time.sleep(rng.uniform(0.02, 0.1))
    ended = time.monotonic()

    testbed.await_leader()
    for link in links:
        assert_no_hot_loop(
            link, began, ended, handovers=2
        )  # it campaigns again, with a new session
    testbed.finish()


@scenario(10, on=SERVERS)
def test_10_refused_for_long(testbed: Testbed) -> None:
    """Connections are refused for longer than a lease: leadership ends in time, and returns."""
    pair = Pair.of(testbed)
    leader, links = pair.leader, pair.links

    with testbed.fault("connections are refused") as fault:
        for link in links:
            link.refuse()
        testbed.sleep(1.3)
        assert testbed.fleet.leader() is None
        for link in links:
            link.listen()

    assert leader.worker.await_event("lost", 1).reason in {"expired", "session_lost"}
    (interval, *_) = leader.worker.recording.read().intervals
    assert (interval.until - fault.since) / 1e9 < testbed.ttl - 0.5 + 0.1
    testbed.finish()


@scenario(10, on=SERVERS, quick=SERVERS)
def test_10_refused_for_a_moment(testbed: Testbed) -> None:
    """Connections are reset twice, and refused for less than a lease: the term continues."""
    testbed.ttl = 5.0
    pair = Pair.of(testbed)
    leader, links = pair.leader, pair.links

    for _ in range(2):
        with testbed.fault("connections are reset"):
            for link in links:
                link.reset()
        time.sleep(0.3)
    with testbed.fault("connections are refused"):
        for link in links:
            link.refuse()
        testbed.sleep(0.3)
        for link in links:
            link.listen()
    testbed.sleep(1)

    assert testbed.await_leader().token == leader.token
    assert leader.worker.count("lost") == 0
    assert leader.worker.count("suspended") == leader.worker.count("resumed")
    testbed.finish()


@scenario(10, on=SERVERS)
def test_10_name_does_not_resolve(testbed: Testbed, tmp_path: Path) -> None:
    """Connections break and the store's name does not resolve, for longer than a lease."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    link = testbed.link()
    url = testbed.url_through(link).replace("127.0.0.1", NAME)
    far = testbed.candidate("far", url=url, faulty=f"names.names_from_file:{hosts}")
    leader = testbed.await_leader()
    time.sleep(1.1)  # a name is resolved once a second at most, so an earlier result would count

    began = time.monotonic()
    with testbed.fault("the name does not resolve"):
        hosts.write_text("127.0.0.1 localhost\n")
        link.reset()
        testbed.sleep(2)
        hosts.write_text(f"127.0.0.1 {NAME}\n")

    assert_no_hot_loop(link, began, time.monotonic())
    if testbed.kind == "etcd" and not far.count("lost"):
        # gRPC goes on with the address that it has, as long as it does not need another one.
        assert testbed.await_leader().token == leader.token
    else:
        assert far.await_event("lost", 1).reason == "expired"
        assert far.count("store_down") == 1
        testbed.await_leader(after=leader)
    testbed.finish()


@scenario(10, on=SERVERS)
def test_10_name_is_not_resolved_again(testbed: Testbed, tmp_path: Path) -> None:
    """The name does not resolve, and the connections stay open: nothing changes."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    url = testbed.url_through(testbed.link()).replace("127.0.0.1", NAME)
    testbed.candidate("far", url=url, faulty=f"names.names_from_file:{hosts}")
    leader = testbed.await_leader()
    testbed.sleep(0.5)

    with testbed.fault("the name does not resolve"):
        hosts.write_text("127.0.0.1 localhost\n")
        testbed.sleep(2)
        assert testbed.await_leader().token == leader.token
        hosts.write_text(f"127.0.0.1 {NAME}\n")
    testbed.finish()


# -- 11: slow, lossy, thin -----------------------------------------------------------------------


@scenario(11, on=SERVERS)
def test_11_ever_slower(testbed: Testbed) -> None:
    """A round trip takes up to 2 s, which is as long as a lease, and then no time again."""
    links = Pair.of(testbed).links

    with testbed.fault("ever slower"):
        for step in range(20):
            for link in links:
                link.delay = step / 20
            time.sleep(0.5)
        for link in links:
            link.delay = 0.0

    testbed.await_leader()
    testbed.finish()


@scenario(11, on=SERVERS)
def test_11_slow_with_time_enough(testbed: Testbed) -> None:
    """A round trip takes up to 1 s, and a lease 9 s: the leader stays."""
    testbed.ttl = 9.0
    pair = Pair.of(testbed)
    leader, links = pair.leader, pair.links

    with testbed.fault("ever slower"):
        for step in range(21):
            for link in links:
                link.delay = step / 40
            time.sleep(0.5)
        time.sleep(5.0)
        assert testbed.await_leader().token == leader.token
        for link in links:
            link.delay = 0.0

    assert leader.worker.count("lost") == 0
    testbed.finish()


@scenario(11, on=SERVERS, quick=["etcd"])
def test_11_lossy(testbed: Testbed) -> None:
    """A fifth of all packets is lost, and a lease takes 9 s: the leader stays."""
    testbed.ttl = 9.0  # in which TCP can send a packet five times: after 0.2, 0.6, 1.4 and 3.0 s
    pair = Pair.of(testbed)
    leader, links = pair.leader, pair.links

    with testbed.fault("a fifth is lost"):
        for link in links:
            link.lose(0.2)
        testbed.sleep(1)  # so that without a renewal the lease would be over
        assert testbed.await_leader().token == leader.token
        for link in links:
            link.heal()

    assert leader.worker.count("lost") == 0
    testbed.finish()


@scenario(11, on=SERVERS)
def test_11_lossy_for_long(testbed: Testbed) -> None:
    """Half of all packets is lost for ten leases: there is one leader at a time."""
    links = Pair.of(testbed).links

    with testbed.fault("half is lost"):
        for link in links:
            link.lose(0.5)
        testbed.sleep(10)
        for link in links:
            link.heal()

    testbed.await_leader()
    testbed.finish()


@scenario(11, on=SERVERS)
def test_11_thin(testbed: Testbed) -> None:
    """The bandwidth is 1 kB/s each way, and a lease takes 9 s: the leader stays, and hands over."""
    testbed.ttl = 9.0
    pair = Pair.of(testbed)
    leader, links = pair.leader, pair.links

    with testbed.fault("1 kB/s"):
        for link in links:
            link.thin(1000)
        testbed.sleep(2)
        assert testbed.await_leader().token == leader.token
        assert leader.worker.count("lost") == 0
        leader.worker.stop()
        testbed.await_leader(after=leader)
        for link in links:
            link.heal()

    testbed.finish()
