"""Faults of ZooKeeper: sessions that end during a reconnect, lost answers, removed parents."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

from kazoo.exceptions import KazooException

from tests.support.admin_tools import admin_of, kazoo_client
from tests.support.recording import now
from tests.support.servers.zookeeper_counters import LAST, set_counter
from tests.support.testbed import Testbed, in_background
from tests.support.waiting import wait_until
from tests.system.catalogue import scenario

_NOTIFICATION = 0.5


# -- 24: ZooKeeper ------------------------------------------------------------------------------


@scenario(24, on=["zookeeper"])
def test_24_session_expired_during_a_reconnect(testbed: Testbed) -> None:
    """Leader and waiting candidate learn it when they reconnect, and enter again."""
    links = [testbed.link(), testbed.link()]
    testbed.candidate("first", links[0])
    before = testbed.await_leader(15)
    waiting = testbed.candidate("second", links[1])
    with testbed.fault("both links are down for longer than a session"):
        for link in links:
            link.refuse()
        testbed.sleep(1.6)
        assert testbed.fleet.leader() is None
        for link in links:
            link.listen()
    after = testbed.await_leader(after=before)

    admin = admin_of(testbed.server)
    testbed.gap = testbed.ttl  # a leader that is cut off cannot be notified of the deletion
    link = links[0] if after.worker is before.worker else links[1]
    with testbed.fault("the link is down while an operator ends the session"):
        link.refuse()
        admin.end_session(testbed.key)
        time.sleep(0.3)
        link.listen()
    testbed.await_leader(after=after)
    assert waiting.process.alive
    testbed.finish()


@scenario(24, on=["zookeeper"], quick=["zookeeper"])
def test_24_node_of_a_dead_session_still_listed(testbed: Testbed) -> None:
    """A candidate with the same value starts at once, and waits for the end of its former session."""
    testbed.candidate("same")
    before = testbed.await_leader(15)
    testbed.mark("SIGKILL")
    killed = now()
    before.worker.signal(signal.SIGKILL)
    testbed.candidate("same")
    with kazoo_client(testbed.server) as client:
        wait_until(
            lambda: len(client.get_children(f"/{testbed.key}")) == 2, 1.5, "both have entered"
        )

    after = testbed.await_leader(after=before)
    assert (after.since - killed) / 1e9 > testbed.ttl / 2
    testbed.finish()


@scenario(24, on=["zookeeper"], quick=["zookeeper"])
def test_24_answer_to_create_lost(testbed: Testbed) -> None:
    """The node exists and the connection breaks: the node is found by its name, and there is only one."""
    for who in ("first", "second"):
        link = testbed.link()
        held = link.hold(b"__lock__", "down")
        worker = testbed.fleet.start(who, url=testbed.url_through(link))
        assert held.caught.wait(15)
        with testbed.fault(f"the answer to the create of {who} is lost"):
            link.reset()
            held.release()
        worker.await_event("campaigning", 15)
        testbed.await_leader()
        testbed.sleep(0.3)
        with kazoo_client(testbed.server) as client:
            names = client.get_children(f"/{testbed.key}")
        assert len(names) == len(testbed.fleet.workers)
    testbed.resign(testbed.await_leader())
    testbed.finish()


@scenario(24, on=["zookeeper"])
def test_24_parent_removed(testbed: Testbed) -> None:
    """The parent node is deleted whenever it is empty, and sometimes with its children."""
    testbed.gap = _NOTIFICATION
    ended = threading.Event()

    def remove() -> None:
        with kazoo_client(testbed.server) as client:
            while not ended.is_set():
                with suppress(KazooException):
                    client.delete(f"/{testbed.key}")

    only = testbed.candidate("first")
    leader = testbed.await_leader(15)
    work = threading.Thread(target=remove, name="test-remove")
    with testbed.fault("the folder is deleted whenever it is empty"), in_background(work, ended):
        for _ in range(5):
            leader = testbed.resign(leader)
    assert only.count("lost") == 0

    testbed.candidate("second")
    testbed.candidate("third")
    admin = admin_of(testbed.server)
    for _ in range(4):
        leader = testbed.await_leader()
        what = "the folder is deleted with all that is in it"
        with testbed.fault(what), suppress(KazooException):  # they may enter again in between
            admin.delete_all(testbed.key)
        testbed.await_leader(after=leader)
        testbed.sleep(0.2)
    testbed.finish()


@scenario(24, on=["zookeeper"])
def test_24_numbers_of_children_used_up(testbed: Testbed) -> None:
    """ZooKeeper gives all further children its last number: still one candidate leads at a time."""
    zookeeper = testbed.own_server()
    with kazoo_client(zookeeper) as client:
        client.ensure_path(f"/{testbed.key}")
    set_counter(zookeeper, f"/{testbed.key}", LAST - 4)
    for who in ("first", "second", "third"):
        testbed.candidate(who)
    leader = testbed.await_leader()
    for _ in range(12):
        with testbed.fault("the numbers are being used up"):
            leader = testbed.resign(leader)
        time.sleep(0.6)
    assert max(_numbers(testbed)) < 100, "they did not restart"
    testbed.finish()


def _numbers(testbed: Testbed) -> set[int]:
    with kazoo_client(testbed.server) as client:
        return {int(name[-10:]) for name in client.get_children(f"/{testbed.key}")}
