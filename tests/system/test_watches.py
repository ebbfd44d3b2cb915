"""Faults of watches: compacted history, wrong indexes, errors."""

from __future__ import annotations

import signal
import threading
import time
from base64 import b64encode
from pathlib import Path

from tests.support.admin_tools import admin_of
from tests.support.consul_proxy import ConsulProxy
from tests.support.outages import led_for
from tests.support.recording import now
from tests.support.servers.etcd import Etcd
from tests.support.testbed import Testbed, in_background
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm
from tests.system.catalogue import scenario
from tests.system.test_followers import Watching, watching
from tests.system.test_permission import Right

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the polls of a process may be apart on a busy machine
_NOTIFICATION = 0.5


def _await_line(watcher: Watching, leader: LeaderTerm, seconds: float) -> None:
    watcher.await_line((leader.worker.who.partition("-")[2], leader.token), seconds)


# -- 22: etcd -----------------------------------------------------------------------------------


@scenario(22, on=["etcd"])
def test_22_history_compacted_all_the_time(testbed: Testbed) -> None:
    """It is compacted between each read and the watch that follows: no change is missed."""
    etcd = testbed.own_server(settings={"experimental-watch-progress-notify-interval": "100ms"})
    link = testbed.link()
    link.delay = 0.03
    testbed.candidate("first", link)
    testbed.candidate("second", link)
    testbed.candidate("third")
    ended = threading.Event()

    def compact() -> None:
        while not ended.wait(0.02):
            _write_and_compact(etcd, testbed.key)

    work = threading.Thread(target=compact, name="test-compact")
    with watching(testbed.url_through(link), testbed.key) as watcher:
        leader = testbed.await_leader()
        with (
            testbed.fault("all history is compacted, fifty times a second"),
            in_background(work, ended),
        ):
            for _ in range(6):
                leader = testbed.resign(leader)
                _await_line(watcher, leader, 5)
                link.reset()
                time.sleep(0.5)
        leader = testbed.resign(testbed.await_leader())
        _await_line(watcher, leader, 5)
        testbed.finish()


@scenario(22, on=["etcd"], quick=["etcd"])
def test_22_watches_broken_and_what_they_missed_compacted(testbed: Testbed) -> None:
    """The watches read the present state, and continue from it."""
    etcd: Etcd = testbed.server
    link = testbed.link()
    testbed.ttl = 4.0
    first = testbed.candidate("first")
    leader = testbed.await_leader(15)
    second = testbed.candidate("second", link)
    with watching(testbed.url_through(link), testbed.key) as watcher:
        _await_line(watcher, leader, 5)
        with testbed.fault("the watches are broken, and history goes on without them"):
            link.refuse()
            _write_and_compact(etcd, testbed.key)
            first.stop()
            wait_until(lambda: not first.process.alive, 10, "it has left")
            _write_and_compact(etcd, testbed.key)
            link.listen()

        after = testbed.await_leader(after=leader)
        assert after.worker is second
        _await_line(watcher, after, 5)
        testbed.finish()


@scenario(22, on=["etcd"], quick=["etcd"])
def test_22_history_compacted_once(testbed: Testbed) -> None:
    """The leader leads on, the next one is elected, and a follower sees both."""
    testbed.fleet.start_all("ann", "ben")
    leader = testbed.await_leader()
    with watching(testbed.url, testbed.key) as watcher:
        _await_line(watcher, leader, 5)
        with testbed.fault("history is compacted"):
            _write_and_compact(testbed.server, testbed.key)
        time.sleep(0.5)
        assert testbed.await_leader(1).token == leader.token

        leader.worker.stop()
        after = testbed.await_leader(5, after=leader)
        _await_line(watcher, after, 5)
        assert after.worker.count("store_down") == 0
        testbed.finish()


def _write_and_compact(etcd: Etcd, key: str) -> None:
    # By its JSON gateway, because etcdctl takes 30 ms to start.
    name = b64encode(f"{key}-other".encode()).decode()
    for _ in range(3):
        etcd.call("kv/put", {"key": name, "value": name})
    etcd.call("kv/compaction", {"revision": etcd.revision(), "physical": True})


# -- 23: Consul and etcd ------------------------------------------------------------------------


@scenario(23, on=["consul"], quick=["consul"])
def test_23_indexes_that_are_zero_or_go_back(testbed: Testbed) -> None:
    """Leadership still changes hands, and there is no hot loop."""
    with ConsulProxy(testbed.server) as front:
        url = testbed.server.url_at(front.port)
        testbed.candidate("first", url=url)
        testbed.candidate("second", url=url)
        leader = testbed.await_leader()
        lies = {
            "all indexes are 0": lambda index: 0,
            "each index is another one below": lambda index: max(1, index - index % 7 * 5),
        }
        for what, lie in lies.items():
            with testbed.fault(what):
                front.index = lie
                testbed.sleep(0.5)
                leader = testbed.resign(leader)
                testbed.sleep(0.5)
                # What two may ask for at once, and then five times a second each at most.
                assert front.asked_within(testbed.ttl) < 2 * (20 + 5 * testbed.ttl)
            front.index = lambda index: index
        testbed.finish()


@scenario(23, on=["consul"])
def test_23_snapshot_restored(testbed: Testbed, tmp_path: Path) -> None:
    """The key is locked by a former leader again, with the former indexes."""
    consul = testbed.own_server()
    # A client that waits for changes after an index, right after Consul has gone back to one before it, is
    # held for the longest time allowed.
    testbed.gap = testbed.ttl + _NOTIFICATION
    testbed.candidate("first")
    testbed.candidate("second")
    file = str(tmp_path / "snapshot")
    leader = testbed.await_leader()
    consul.cli("snapshot", "save", file)
    for _ in range(3):
        leader = testbed.resign(leader)

    with testbed.fault("an earlier snapshot is restored"):
        consul.cli("snapshot", "restore", file)
    testbed.forgets = True

    after = testbed.await_leader(after=leader)
    assert after.since > leader.since
    testbed.finish()


@scenario(23, on=["consul"])
def test_23_lock_delay_in_force(testbed: Testbed) -> None:
    """No candidate gets the key until the delay is over, however the session ended; then one does."""
    delay = 3.0
    url = f"{testbed.url}?lock_delay={delay:g}"
    testbed.gap = _NOTIFICATION
    admin = admin_of(testbed.server)
    testbed.candidate("first", url=url)
    before = testbed.await_leader(15)
    testbed.candidate("second", url=url)
    testbed.candidate("third", url=url)

    with testbed.fault("the session of the leader is ended, and the key is locked for 3 s"):
        since = now()
        admin.end_session(testbed.key)
        after = testbed.await_leader(delay + testbed.recovery, after=before)
        assert (after.since - since) / 1e9 > delay - 0.2

    with testbed.fault("SIGKILL of the leader, and then the same"):
        after.worker.signal(signal.SIGKILL)
        testbed.await_leader(delay + testbed.recovery, after=after)
    testbed.finish()


@scenario(23, on=["consul"], quick=["consul"])
def test_23_token_revoked_in_mid_term(testbed: Testbed) -> None:
    """The term lasts to its deadline at most, and the candidate campaigns until the token works again."""
    consul = testbed.own_server(dev=True, acl=True)
    right = Right.give(consul)
    first = testbed.candidate("first", url=consul.url_at(consul.port, token=right.secret))
    before = testbed.await_leader(15)
    testbed.candidate("second")

    with testbed.fault("the ACL token of the leader is revoked"):
        since = now()
        right.revoke()
        assert "permission" in (first.await_event("store_down", 5).reason or "")
        after = testbed.await_leader(after=before)
        assert first.await_event("lost", 1).reason == "expired"
        assert led_for(before, since) < testbed.ttl - _MARGIN + _LATE
        testbed.sleep(1)
        right.restore()

    first.await_event("store_up", testbed.recovery)
    after.worker.stop()
    assert testbed.await_leader(after=after).worker is first
    assert right.secret not in first.process.tail(1000)
    assert consul.token not in after.worker.process.tail(1000)
    testbed.finish()


@scenario(23, on=["consul"])
def test_23_errors_for_three_seconds(testbed: Testbed) -> None:
    """A lease of six seconds survives; a lease of two seconds ends, and the candidate leads again."""
    with ConsulProxy(testbed.server) as front:
        testbed.ttl = 6.0
        url = testbed.server.url_at(front.port)
        testbed.candidate("first", url=url)
        before = testbed.await_leader(15)
        testbed.candidate("second", url=url)
        for status in (500, 503, 429):
            with testbed.fault(f"everything is answered with {status}"):
                front.status = status
                time.sleep(3.0)
                front.status = 0
            testbed.sleep(0.5)
            assert testbed.await_leader(1).token == before.token
        assert before.worker.count("lost") == 0

        with testbed.fault("everything is answered with 500, for longer than a lease"):
            since = now()
            front.status = 500
            time.sleep(testbed.ttl + 1.0)
            assert led_for(before, since) < testbed.ttl - _MARGIN + _LATE
            front.status = 0
        testbed.finish()


@scenario(23, on=["etcd"], quick=["etcd"])
def test_23_auth_tokens_expire_all_the_time(testbed: Testbed) -> None:
    """No term ends: tokens expire each second, and a restart invalidates all of them."""
    etcd = testbed.own_server(auth=True, auth_token_ttl=1)
    testbed.ttl = 4.0
    first = testbed.candidate("first")
    before = testbed.await_leader(15)
    second = testbed.candidate("second")
    with testbed.fault("each token is good for a second"):
        testbed.sleep(2)
        assert testbed.await_leader(1).token == before.token
    assert first.count("store_down") == second.count("store_down") == 0

    leader = testbed.resign(before)
    with testbed.fault("the server starts again, and knows no token"):
        etcd.restart()
    testbed.sleep(1)
    assert testbed.await_leader(1).token == leader.token
    testbed.resign(leader)
    testbed.finish()
