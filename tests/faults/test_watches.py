"""Faults in what a store says of changes: history that is gone, indexes and sessions that lie."""

from __future__ import annotations

import signal
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kazoo.exceptions import KazooException

from tests.faults.catalogue import scenario
from tests.faults.front import Front
from tests.faults.outages import believed_for
from tests.faults.stand import Stand
from tests.scenarios.diary import now
from tests.scenarios.fleet import Reign, await_true
from tests.scenarios.offices import kazoo_client, office_of
from tests.scenarios.test_followers import Watching, watching
from tests.scenarios.test_permission import Right
from tests.servers.etcd import Etcd
from tests.servers.zookeeper_counters import LAST, set_counter

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the looks of a process may be apart on a busy machine
_NOTIFICATION = 0.5


@contextmanager
def _going_on(work: threading.Thread, ended: threading.Event) -> Iterator[None]:
    work.start()
    try:
        yield
    finally:
        ended.set()
        work.join(10)


def _resign(stand: Stand, reign: Reign) -> Reign:
    """Let the leader resign; returns the next one."""
    reign.worker.signal(signal.SIGUSR1)
    return stand.leader(after=reign)


def _await_line(watcher: Watching, reign: Reign, seconds: float) -> None:
    watcher.await_line((reign.worker.who.partition("-")[2], reign.token), seconds)


# -- 22: etcd -----------------------------------------------------------------------------------


@scenario(22, on=["etcd"])
def test_22_history_compacted_all_the_time(stand: Stand) -> None:
    """Between each read and the watch that goes on from it: nobody misses anything."""
    etcd = stand.own_server(settings={"experimental-watch-progress-notify-interval": "100ms"})
    link = stand.link()
    link.delay = 0.03
    stand.candidate("first", link)
    stand.candidate("second", link)
    stand.candidate("third")
    ended = threading.Event()

    def compact() -> None:
        while not ended.wait(0.02):
            _write_and_compact(etcd, stand.key)

    work = threading.Thread(target=compact, name="test-compact")
    with watching(stand.url_through(link), stand.key) as watcher:
        reign = stand.leader()
        with stand.fault("all history is compacted, fifty times a second"), _going_on(work, ended):
            for _ in range(6):
                reign = _resign(stand, reign)
                _await_line(watcher, reign, 5)
                link.reset()
                time.sleep(0.5)
        reign = _resign(stand, stand.leader())
        _await_line(watcher, reign, 5)
        stand.finish()


@scenario(22, on=["etcd"], quick=["etcd"])
def test_22_watches_broken_and_what_they_missed_compacted(stand: Stand) -> None:
    """They look at what is there now, and go on from it."""
    etcd: Etcd = stand.server
    link = stand.link()
    stand.ttl = 4.0
    first = stand.candidate("first")
    reign = stand.leader(15)
    second = stand.candidate("second", link)
    with watching(stand.url_through(link), stand.key) as watcher:
        _await_line(watcher, reign, 5)
        with stand.fault("the watches are broken, and history goes on without them"):
            link.refuse()
            _write_and_compact(etcd, stand.key)
            first.stop()
            await_true("it has left", lambda: not first.process.alive, 10)
            _write_and_compact(etcd, stand.key)
            link.listen()

        after = stand.leader(after=reign)
        assert after.worker is second
        _await_line(watcher, after, 5)
        stand.finish()


def _write_and_compact(etcd: Etcd, key: str) -> None:
    # By its JSON gateway, because etcdctl takes 30 ms to start.
    name = b64encode(f"{key}-other".encode()).decode()
    for _ in range(3):
        etcd.call("kv/put", {"key": name, "value": name})
    etcd.call("kv/compaction", {"revision": etcd.revision(), "physical": True})


# -- 23: Consul and etcd ------------------------------------------------------------------------


@scenario(23, on=["consul"], quick=["consul"])
def test_23_indexes_that_are_zero_or_go_back(stand: Stand) -> None:
    """Leadership goes round all the same, and nobody asks without a pause."""
    with Front(stand.server) as front:
        url = stand.server.url_at(front.port)
        stand.candidate("first", url=url)
        stand.candidate("second", url=url)
        reign = stand.leader()
        lies = {
            "all indexes are 0": lambda index: 0,
            "each index is another one below": lambda index: max(1, index - index % 7 * 5),
        }
        for what, lie in lies.items():
            with stand.fault(what):
                front.index = lie
                stand.sleep(0.5)
                reign = _resign(stand, reign)
                stand.sleep(0.5)
                # What two may ask for at once, and then five times a second each at most.
                assert front.asked_within(stand.ttl) < 2 * (20 + 5 * stand.ttl)
            front.index = lambda index: index
        stand.finish()


@scenario(23, on=["consul"])
def test_23_snapshot_restored(stand: Stand, tmp_path: Path) -> None:
    """The key is locked again by one who does not lead; indexes are those of then."""
    consul = stand.own_server()
    # Who asks for news from an index on, right after Consul has gone back to one before it, is
    # held for as long as he may be.
    stand.gap = stand.ttl + _NOTIFICATION
    stand.candidate("first")
    stand.candidate("second")
    file = str(tmp_path / "snapshot")
    reign = stand.leader()
    consul.cli("snapshot", "save", file)
    for _ in range(3):
        reign = _resign(stand, reign)

    with stand.fault("an earlier snapshot is restored"):
        consul.cli("snapshot", "restore", file)
    stand.forgets = True

    after = stand.leader(after=reign)
    assert after.since > reign.since
    stand.finish()


@scenario(23, on=["consul"])
def test_23_lock_delay_in_force(stand: Stand) -> None:
    """Nobody gets the key until it is over, whoever ended the session before; then somebody does."""
    delay = 3.0
    url = f"{stand.url}?lock_delay={delay:g}"
    stand.gap = _NOTIFICATION
    office = office_of(stand.server)
    stand.candidate("first", url=url)
    before = stand.leader(15)
    stand.candidate("second", url=url)
    stand.candidate("third", url=url)

    with stand.fault("the session of the leader is ended, and the key is locked for 3 s"):
        since = now()
        office.end_session(stand.key)
        after = stand.leader(delay + stand.recovery, after=before)
        assert (after.since - since) / 1e9 > delay - 0.2

    with stand.fault("SIGKILL of the leader, and then the same"):
        after.worker.signal(signal.SIGKILL)
        stand.leader(delay + stand.recovery, after=after)
    stand.finish()


@scenario(23, on=["consul"])
def test_23_token_revoked_in_mid_term(stand: Stand) -> None:
    """Belief lasts to its deadline at most, and campaigning goes on until it works again."""
    consul = stand.own_server(dev=True, acl=True)
    right = Right.give(consul)
    first = stand.candidate("first", url=consul.url_at(consul.port, token=right.secret))
    before = stand.leader(15)
    stand.candidate("second")

    with stand.fault("the ACL token of the leader is revoked"):
        since = now()
        right.revoke()
        after = stand.leader(after=before)
        assert believed_for(before, since) < stand.ttl - _MARGIN + _LATE
        stand.sleep(1)
        right.restore()

    first.await_event("store_up", stand.recovery)
    after.worker.stop()
    assert stand.leader(after=after).worker is first
    stand.finish()


@scenario(23, on=["consul"])
def test_23_errors_for_three_seconds(stand: Stand) -> None:
    """A lease of six seconds lasts; one of two does not, and comes back."""
    with Front(stand.server) as front:
        stand.ttl = 6.0
        url = stand.server.url_at(front.port)
        stand.candidate("first", url=url)
        before = stand.leader(15)
        stand.candidate("second", url=url)
        for status in (500, 503, 429):
            with stand.fault(f"everything is answered with {status}"):
                front.status = status
                time.sleep(3.0)
                front.status = 0
            stand.sleep(0.5)
            assert stand.leader(1).token == before.token
        assert before.worker.count("lost") == 0

        with stand.fault("everything is answered with 500, for longer than a lease"):
            since = now()
            front.status = 500
            time.sleep(stand.ttl + 1.0)
            assert believed_for(before, since) < stand.ttl - _MARGIN + _LATE
            front.status = 0
        stand.finish()


@scenario(23, on=["etcd"])
def test_23_auth_tokens_expire_all_the_time(stand: Stand) -> None:
    """Nobody notices, whether he leads or waits for long; nor when the server forgets them all."""
    etcd = stand.own_server(auth=True, auth_token_ttl=1)
    stand.ttl = 4.0
    first = stand.candidate("first")
    before = stand.leader(15)
    second = stand.candidate("second")
    with stand.fault("each token is good for a second"):
        stand.sleep(2)
        assert stand.leader(1).token == before.token
    assert first.count("store_down") == second.count("store_down") == 0

    reign = _resign(stand, before)
    with stand.fault("the server starts again, and knows no token"):
        etcd.restart()
    stand.sleep(1)
    assert stand.leader(1).token == reign.token
    _resign(stand, reign)
    stand.finish()


# -- 24: ZooKeeper ------------------------------------------------------------------------------


@scenario(24, on=["zookeeper"])
def test_24_session_expired_during_a_reconnect(stand: Stand) -> None:
    """Of who leads and of who waits: the server says so when they are back, and they stand anew."""
    links = [stand.link(), stand.link()]
    stand.candidate("first", links[0])
    before = stand.leader(15)
    waiting = stand.candidate("second", links[1])
    with stand.fault("both links are down for longer than a session"):
        for link in links:
            link.refuse()
        stand.sleep(1.6)
        assert stand.fleet.reign() is None
        for link in links:
            link.listen()
    after = stand.leader(after=before)

    office = office_of(stand.server)
    stand.gap = stand.ttl  # whoever is cut off cannot be told that its claim was taken away
    link = links[0] if after.worker is before.worker else links[1]
    with stand.fault("the link is down while an operator ends the session"):
        link.refuse()
        office.end_session(stand.key)
        time.sleep(0.3)
        link.listen()
    stand.leader(after=after)
    assert waiting.process.alive
    stand.finish()


@scenario(24, on=["zookeeper"], quick=["zookeeper"])
def test_24_node_of_a_dead_session_still_listed(stand: Stand) -> None:
    """One of the same name starts at once: it waits for its own former session to end."""
    stand.candidate("same")
    before = stand.leader(15)
    stand.mark("SIGKILL")
    killed = now()
    before.worker.signal(signal.SIGKILL)
    stand.candidate("same")
    with kazoo_client(stand.server) as client:
        await_true("both stand", lambda: len(client.get_children(f"/{stand.key}")) == 2, 1.5)

    after = stand.leader(after=before)
    assert (after.since - killed) / 1e9 > stand.ttl / 2
    stand.finish()


@scenario(24, on=["zookeeper"], quick=["zookeeper"])
def test_24_answer_to_create_lost(stand: Stand) -> None:
    """The node was made, the connection breaks: it is found by its name, and there is one only."""
    for who in ("first", "second"):
        link = stand.link()
        held = link.hold(b"__lock__", "down")
        worker = stand.fleet.start(who, url=stand.url_through(link))
        assert held.caught.wait(15)
        with stand.fault(f"the answer to the create of {who} is lost"):
            link.reset()
            held.release()
        worker.await_event("campaigning", 15)
        stand.leader()
        stand.sleep(0.3)
        with kazoo_client(stand.server) as client:
            names = client.get_children(f"/{stand.key}")
        assert len(names) == len(stand.fleet.workers)
    _resign(stand, stand.leader())
    stand.finish()


@scenario(24, on=["zookeeper"])
def test_24_parent_removed(stand: Stand) -> None:
    """The folder of the election goes whenever it is empty, and at times with all that is in it."""
    stand.gap = _NOTIFICATION
    ended = threading.Event()

    def remove() -> None:
        with kazoo_client(stand.server) as client:
            while not ended.is_set():
                with suppress(KazooException):
                    client.delete(f"/{stand.key}")

    only = stand.candidate("first")
    reign = stand.leader(15)
    work = threading.Thread(target=remove, name="test-remove")
    with stand.fault("the folder is deleted whenever it is empty"), _going_on(work, ended):
        for _ in range(5):
            reign = _resign(stand, reign)
    assert only.count("lost") == 0

    stand.candidate("second")
    stand.candidate("third")
    office = office_of(stand.server)
    for _ in range(4):
        reign = stand.leader()
        what = "the folder is deleted with all that is in it"
        with stand.fault(what), suppress(KazooException):  # they may stand again in between
            office.delete_all(stand.key)
        stand.leader(after=reign)
        stand.sleep(0.2)
    stand.finish()


@scenario(24, on=["zookeeper"])
def test_24_numbers_of_children_used_up(stand: Stand) -> None:
    """ZooKeeper gives its last number to one child after the other: still one leads at a time."""
    zookeeper = stand.own_server()
    with kazoo_client(zookeeper) as client:
        client.ensure_path(f"/{stand.key}")
    set_counter(zookeeper, f"/{stand.key}", LAST - 4)
    for who in ("first", "second", "third"):
        stand.candidate(who)
    reign = stand.leader()
    for _ in range(12):
        with stand.fault("the numbers are being used up"):
            reign = _resign(stand, reign)
        time.sleep(0.6)
    assert max(_numbers(stand)) < 100, "they did not begin anew"
    stand.finish()


def _numbers(stand: Stand) -> set[int]:
    with kazoo_client(stand.server) as client:
        return {int(name[-10:]) for name in client.get_children(f"/{stand.key}")}
