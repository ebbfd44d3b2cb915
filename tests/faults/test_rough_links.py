"""Faults of links: what is sent is answered badly, or late."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults.catalogue import SERVERS, scenario
from tests.faults.oddities.names import NAME
from tests.faults.pair import Pair
from tests.faults.stand import Stand
from tests.servers.link import Link

_A_SECOND = 5.0  # requests, of a candidate, whatever goes wrong
_AT_ONCE = 15  # that may come at once, before that counts


def assert_no_hot_loop(link: Link, began: float, ended: float, *, handovers: int = 0) -> None:
    """Its candidate has not asked more often than it may, however often that has failed."""
    seconds = ended - began
    asked = link.most_within(seconds, since=began, until=ended)
    most = _A_SECOND * seconds + _AT_ONCE * (1 + handovers)
    assert asked <= most, f"{asked} requests in {seconds:.1f} s"


# -- 10: resets, refusals, names ---------------------------------------------------------------


@scenario(10, on=SERVERS, quick=["zookeeper"])
def test_10_storm_of_resets(stand: Stand) -> None:
    """No connection lives for a tenth of a second: no hot loop, and all is well when it ends."""
    links, rng = Pair.of(stand).links, random.Random(10)

    began = time.monotonic()
    with stand.fault("resets"):
        while time.monotonic() < began + 1.5 * stand.ttl:
            for link in links:
                link.reset()
            time.sleep(rng.uniform(0.02, 0.1))
    ended = time.monotonic()

    stand.leader()
    for link in links:
        assert_no_hot_loop(link, began, ended, handovers=2)  # it stands anew, with a new session
    stand.finish()


@scenario(10, on=SERVERS)
def test_10_refused_for_long(stand: Stand) -> None:
    """Nobody listens, for longer than a lease: belief ends in time, and comes back."""
    pair = Pair.of(stand)
    reign, links = pair.reign, pair.links

    with stand.fault("connections are refused") as fault:
        for link in links:
            link.refuse()
        stand.sleep(1.3)
        assert stand.fleet.reign() is None
        for link in links:
            link.listen()

    assert reign.worker.await_event("lost", 1).reason in {"expired", "session_lost"}
    (belief, *_) = reign.worker.diary.read().beliefs
    assert (belief.until - fault.since) / 1e9 < stand.ttl - 0.5 + 0.1
    stand.finish()


@scenario(10, on=SERVERS)
def test_10_refused_for_a_moment(stand: Stand) -> None:
    """Connections are reset and refused for less than a lease: the term goes on."""
    stand.ttl = 5.0
    pair = Pair.of(stand)
    reign, links = pair.reign, pair.links

    with stand.fault("connections are refused"):
        for link in links:
            link.refuse()
        stand.sleep(0.3)
        for link in links:
            link.listen()
    stand.sleep(1)

    assert stand.leader().token == reign.token
    assert reign.worker.count("lost") == 0
    stand.finish()


@scenario(10, on=SERVERS)
def test_10_name_does_not_resolve(stand: Stand, tmp_path: Path) -> None:
    """Connections break and the name of the store is gone, for longer than a lease."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    link = stand.link()
    url = stand.url_through(link).replace("127.0.0.1", NAME)
    far = stand.candidate("far", url=url, odd=f"names.as_told:{hosts}")
    reign = stand.leader()

    began = time.monotonic()
    with stand.fault("the name does not resolve"):
        hosts.write_text("127.0.0.1 localhost\n")
        link.reset()
        stand.sleep(2)
        hosts.write_text(f"127.0.0.1 {NAME}\n")

    assert_no_hot_loop(link, began, time.monotonic())
    if stand.kind == "etcd" and not far.count("lost"):
        # gRPC goes on with the address that it has, as long as it does not need another one.
        assert stand.leader().token == reign.token
    else:
        assert far.await_event("lost", 1).reason == "expired"
        assert far.count("store_down") == 1
        stand.leader(after=reign)
    stand.finish()


@scenario(10, on=SERVERS)
def test_10_name_is_not_asked_for(stand: Stand, tmp_path: Path) -> None:
    """The name is gone, and the connections stand: that is no news."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    url = stand.url_through(stand.link()).replace("127.0.0.1", NAME)
    stand.candidate("far", url=url, odd=f"names.as_told:{hosts}")
    reign = stand.leader()
    stand.sleep(0.5)

    with stand.fault("the name does not resolve"):
        hosts.write_text("127.0.0.1 localhost\n")
        stand.sleep(2)
        assert stand.leader().token == reign.token
        hosts.write_text(f"127.0.0.1 {NAME}\n")
    stand.finish()


# -- 11: slow, lossy, thin -----------------------------------------------------------------------


@scenario(11, on=SERVERS)
def test_11_ever_slower(stand: Stand) -> None:
    """A round trip takes up to 2 s, which is as long as a lease, and then none again."""
    links = Pair.of(stand).links

    with stand.fault("ever slower"):
        for step in range(20):
            for link in links:
                link.delay = step / 20
            time.sleep(0.5)
        for link in links:
            link.delay = 0.0

    stand.leader()
    stand.finish()


@scenario(11, on=SERVERS)
def test_11_slow_with_time_enough(stand: Stand) -> None:
    """A round trip takes up to 1 s, and a lease 9: leadership does not change."""
    stand.ttl = 9.0
    pair = Pair.of(stand)
    reign, links = pair.reign, pair.links

    with stand.fault("ever slower"):
        for step in range(21):
            for link in links:
                link.delay = step / 40
            time.sleep(0.5)
        time.sleep(5.0)
        assert stand.leader().token == reign.token
        for link in links:
            link.delay = 0.0

    assert reign.worker.count("lost") == 0
    stand.finish()


@scenario(11, on=SERVERS, quick=["etcd"])
def test_11_lossy(stand: Stand) -> None:
    """A fifth of all packets is lost, and a lease is 4 s long: leadership does not change."""
    stand.ttl = 4.0
    pair = Pair.of(stand)
    reign, links = pair.reign, pair.links

    with stand.fault("a fifth is lost"):
        for link in links:
            link.lose(0.2)
        stand.sleep(1)
        assert stand.leader().token == reign.token
        for link in links:
            link.heal()

    assert reign.worker.count("lost") == 0
    stand.finish()


@scenario(11, on=SERVERS)
def test_11_lossy_for_long(stand: Stand) -> None:
    """Half of all packets is lost for ten leases: whoever leads, it is one at a time."""
    links = Pair.of(stand).links

    with stand.fault("half is lost"):
        for link in links:
            link.lose(0.5)
        stand.sleep(10)
        for link in links:
            link.heal()

    stand.leader()
    stand.finish()


@scenario(11, on=SERVERS)
def test_11_thin(stand: Stand) -> None:
    """1 kB a second each way, and a lease of 9 s: leadership does not change, and is handed over."""
    stand.ttl = 9.0
    pair = Pair.of(stand)
    reign, links = pair.reign, pair.links

    with stand.fault("1 kB/s"):
        for link in links:
            link.thin(1000)
        stand.sleep(2)
        assert stand.leader().token == reign.token
        assert reign.worker.count("lost") == 0
        reign.worker.stop()
        stand.leader(after=reign)
        for link in links:
            link.heal()

    stand.finish()
