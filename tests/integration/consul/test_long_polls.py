"""The long polls of a store's watches: how they are shared, and how they handle answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from leadership_consul.client import KeyValue
from leadership_consul.store import ConsulStore
from leadership_consul.subscriptions import Found, Snapshot, Subscription, WatchScope
from leadership_core import Candidate, Entry, open_store
from leadership_core.errors import StoreUnavailable
from tests.conftest import ConsulFactory, ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import encoded, open_links, txn, watch_threads
from tests.support.servers.consul import Consul
from tests.support.waiting import Seen, at_most, has_value, wait_until


def test_hundred_watches_use_eight_connections_at_most(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """However the keys are distributed over folders, every watch reports the changes of its key."""
    link = proxy(consul.port)
    store, direct = opened(consul.url_at(link.port)), opened(consul.url)
    keys = [f"{unique_key}/{number % 25}/{number}" for number in range(100)]
    seen = {key: Seen() for key in keys}
    watches = [store.watch(key, seen[key]) for key in keys]
    for key in keys:
        seen[key].wait(lambda it: it is None)
    wait_until(lambda: len(watch_threads()) <= 8, 2)  # those that were replaced have ended

    for key in keys[::9]:
        direct.put(key, key.encode())
    for key in keys[::9]:
        seen[key].wait(has_value(key.encode()))

    assert len(watch_threads()) <= 8
    assert open_links(link) <= 8
    assert all(f"/v1/kv/{unique_key}" in line for line in link.requests)
    for watch in watches:
        watch.close()
    for key in keys:  # so that the agent answers the polls, which then end
        direct.put(key, b"last")
    wait_until(lambda: not watch_threads(), 2)
    wait_until(lambda: not open_links(link), 1)


def test_watches_without_a_common_prefix_never_read_the_root(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The root may hold all keys of a company, so the polls above the limit are read in turn."""
    link = proxy(consul.port)
    store, direct = opened(consul.url_at(link.port)), opened(consul.url)
    tail = unique_key.replace("/", "-")
    keys = [f"{letter}{tail}" for letter in "abcdefghijklm"]
    seen = {key: Seen() for key in keys}
    for key in keys:
        store.watch(key, seen[key])
    for key in keys:
        seen[key].wait(lambda it: it is None)
        direct.put(key, b"1")
    for key in keys:
        seen[key].wait(has_value(b"1"))
        direct.delete(key)

    assert len(watch_threads()) <= 8
    assert not link.count("recurse")


def test_candidate_is_elected_in_time_despite_a_dead_long_poll(
    consul: Consul, proxy: ProxyFactory, unique_key: str
) -> None:
    """The connection is open and nothing passes: it is given up in time."""
    link = proxy(consul.port)
    ttl = 2.0
    with open_store(consul.url) as near, open_store(consul.url_at(link.port)) as far:
        leader, waiting = (Candidate(store, unique_key, "x", ttl=ttl) for store in (near, far))
        assert leader.wait_elected(5)
        held = link.hold(b"index=")
        waiting.run_for_election()
        assert held.caught.wait(5)

        assert leader.stop()

        assert waiting.wait_elected(2 * ttl + 5)
        held.release()


def test_candidate_does_not_join_a_long_poll_with_a_longer_wait(
    consul: Consul, proxy: ProxyFactory, unique_key: str
) -> None:
    """A poll under way that waits longer than the candidate's ttl is replaced by another one."""
    link = proxy(consul.port)
    ttl = 2.0
    with open_store(consul.url) as near, open_store(consul.url_at(link.port)) as far:
        leader, waiting = (Candidate(store, unique_key, "x", ttl=ttl) for store in (near, far))
        assert leader.wait_elected(5)
        held = link.hold(b"index=")
        far.watch(unique_key, lambda _: None)
        assert held.caught.wait(5)
        waiting.run_for_election()
        wait_until(lambda: link.count("wait=2s"), 2.0)

        assert leader.stop()

        assert waiting.wait_elected(ttl)
        held.release()


def test_long_poll_waits_ten_seconds_or_the_shortest_ttl(
    consul: Consul, proxy: ProxyFactory, unique_key: str
) -> None:
    """The shortest ttl of the subscriptions counts, as long as that subscription is open."""
    link = proxy(consul.port)
    with open_store(consul.url_at(link.port)) as store:
        store.watch(unique_key, lambda _: None)
        wait_until(lambda: link.count("wait=10s"))
        candidate = Candidate(store, unique_key, "x", ttl=3)
        assert candidate.wait_elected(5)
        wait_until(lambda: link.count("wait=3s"), 2.0)
        candidate.stop()
        before = link.count("wait=10s")
        store.put(unique_key, b"1")
        wait_until(lambda: link.count("wait=10s") > before)


def test_late_snapshot_is_dropped() -> None:
    """The older of two snapshots and one of a merged poll are not reported."""
    seen = Seen()
    subscription = Subscription(
        WatchScope("key"), lambda found, _: seen(found), lambda _: None, confirm=False
    )
    old, new = object(), object()
    subscription.follow(old)
    subscription.publish(old, _snapshot(2, b"2"))
    subscription.publish(old, _snapshot(1, b"1"))
    subscription.follow(new)
    subscription.publish(new, _snapshot(0, b"3"))
    subscription.publish(old, _snapshot(3, b"4"))

    assert [found[0].value for found in seen] == [b"2", b"3"]


def test_snapshot_during_a_callback_is_reported_after_it() -> None:
    """Calls are made one at a time; of several snapshots meanwhile the last one is reported."""
    values: list[bytes] = []

    def on_state(found: Found, _: bool) -> None:
        assert isinstance(found, tuple)
        if not values:  # as if another thread had published twice
            subscription.publish(None, _snapshot(2, b"2"))
            subscription.publish(None, _snapshot(3, b"3"))
            assert values == []
        values.append(found[0].value)

    subscription = Subscription(WatchScope("key"), on_state, lambda _: None, confirm=False)
    subscription.publish(None, _snapshot(1, b"1"))

    assert values == [b"1", b"3"]


def _snapshot(version: int, value: bytes) -> Snapshot:
    record = KeyValue("key", value, 0, None, 1, int(value), 0)
    return Snapshot(version, {"key": record})


def test_close_ends_all_threads(consul: Consul, opened: Opener, unique_key: str) -> None:
    """They have ended when it returns, without a delay."""
    store = opened(consul.url)
    for number in range(5):
        store.watch(f"{unique_key}/{number}/key", Seen())
    assert watch_threads()
    began = time.monotonic()

    store.close()

    assert watch_threads() == []
    assert time.monotonic() - began < at_most(1)


class _Script(BaseHTTPRequestHandler):
    """A faulty agent, which answers every request at once with the next of its lines."""

    protocol_version = "HTTP/1.1"
    lines: list[tuple[int, str, str]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, index, body = self.lines[min(len(self.asked), len(self.lines)) - 1]
        self.send_response(status)
        self.send_header("X-Consul-Index", index)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the signature is the base class's
        pass


Faulty = Callable[[list[tuple[int, str, str]]], tuple[int, list[str]]]


@pytest.fixture
def faulty_agent() -> Iterator[Faulty]:
    servers: list[ThreadingHTTPServer] = []

    def start(lines: list[tuple[int, str, str]]) -> tuple[int, list[str]]:
        asked: list[str] = []
        handler = type("Script", (_Script,), {"lines": lines, "asked": asked})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        return servers[-1].server_port, asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _record(index: int, value: str = "MQ==") -> str:
    item = {"Key": "a/key", "Value": value, "Flags": 0, "LockIndex": 0, "CreateIndex": 1}
    return json.dumps([item | {"ModifyIndex": index}])


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        (200, "0", _record(3)),
        (200, "-7", _record(3)),
        (200, "5", _record(3)),
        (200, "nonsense", _record(3)),
        (404, "5", ""),
        (500, "5", "boom"),
        (429, "5", ""),
        (200, "5", "<html>"),
    ],
)
def test_no_answer_causes_a_busy_loop(
    faulty_agent: Faulty, opened: Opener, line: tuple[int, str, str]
) -> None:
    """An agent that never waits gets about five requests a second, after a few at the start."""
    port, asked = faulty_agent([line])
    store = opened(f"consul://127.0.0.1:{port}")
    seen = Seen()
    store.watch("a/key", seen)

    time.sleep(1.5)

    assert 2 <= len(asked) <= 5 + 1.5 * 5 + 2


def test_index_that_goes_backwards_starts_from_zero(faulty_agent: Faulty, opened: Opener) -> None:
    """The state of a restored server is reported after a linearizable read has confirmed it."""
    old, restored = _record(7, "b2xk"), _record(8, "Mg==")
    port, asked = faulty_agent(
        [(200, "90", _record(90)), (200, "7", old), (200, "8", restored), (404, "9", "")]
    )
    store = opened(f"consul://127.0.0.1:{port}")
    seen = Seen()

    store.watch("a/key", seen)

    seen.wait(lambda it: it is None)
    assert [entry.value for entry in seen[:2]] == [b"1", b"2"]
    assert "index=90" in asked[1]
    assert "index" not in asked[2]
    assert "consistent" in asked[2]
    assert "index=8" in asked[3]


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("replayed", [(404, "3", ""), (200, "50", "old")])
def test_answer_during_log_replay_is_not_reported(
    tree: bool, replayed: tuple[int, str, str], faulty_agent: Faulty, opened: Opener
) -> None:
    """Its index is below the last one; a linearizable read is answered after the replay."""
    status, index, text = replayed
    old = (status, index, _record(50, "b2xk") if text else "")
    port, asked = faulty_agent(
        [(200, "90", _record(90)), old, (200, "90", _record(90)), (200, "91", _record(91, "Mg=="))]
    )
    store = opened(f"consul://127.0.0.1:{port}")
    seen = Seen()

    store.watch("a" if tree else "a/key", seen, tree=tree)

    seen.wait(lambda it: _value(it) == b"2")
    assert {_value(one) for one in seen} == {b"1", b"2"}
    assert ["consistent" in one for one in asked[:4]] == [True, False, True, False]


@pytest.mark.slow
def test_watch_reports_no_older_state_after_server_restart(
    consul_server: ConsulFactory, opened: Opener
) -> None:
    """The server leads at once, with a log of 40 MB to replay."""
    server = consul_server()
    value = encoded(b"x" * 6000)
    for number in range(100):
        keys = [f"fill/{number}/{one}" for one in range(64)]
        txn(server, *({"Verb": "set", "Key": key, "Value": value} for key in keys))
    store, seen = opened(server.url), Seen()
    first = store.put("key", b"1")
    store.watch("key", seen)
    seen.wait(lambda it: it == first)

    server.kill()
    server.start()
    last = _written(store, "key")

    seen.wait(lambda it: isinstance(it, Entry) and it.revision >= last.revision, 30)
    reported = [it for it in seen if not isinstance(it, StoreUnavailable)]
    revisions = [0 if it is None else it.revision for it in reported]
    assert revisions == sorted(revisions)


def _written(store: ConsulStore, key: str) -> Entry:
    until = time.monotonic() + 30
    while True:
        try:
            return store.put(key, b"2")
        except StoreUnavailable:
            assert time.monotonic() < until
            time.sleep(0.05)


def _value(state: Any) -> bytes | None:
    entry = state[0] if isinstance(state, list) and state else state
    return entry.value if isinstance(entry, Entry) else None
