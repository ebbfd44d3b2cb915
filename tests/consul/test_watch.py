"""The shared long polls: what they tell, how many they are, and how they end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from leadership_consul.client import Record
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_consul.view import Found, Scope, Subscription, View
from leadership_core.errors import StoreUnavailable
from leadership_core.store import Closable, Entry
from tests.conftest import ConsulFactory, ProxyFactory
from tests.consul.conftest import Opener
from tests.consul.tools import Seen, wait_until, watch_threads
from tests.servers.consul import Consul


def _value(value: bytes) -> Callable[[object], bool]:
    return lambda seen: isinstance(seen, Entry) and seen.value == value


def test_a_key_from_missing_to_recreated(store: ConsulStore, unique_key: str) -> None:
    """Missing, created, changed, deleted, recreated: each is told, under the key's own name."""
    seen = Seen()
    with_watch = store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")
    first = seen.wait(_value(b"1"))
    store.put(unique_key, b"2")
    seen.wait(_value(b"2"))
    store.delete(unique_key)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"3")
    again = seen.wait(_value(b"3"))
    with_watch.close()

    assert first.key == unique_key
    assert again.revision > first.revision


def test_a_tree(store: ConsulStore, unique_key: str) -> None:
    """All that is below the key, and nothing that only begins with the same letters."""
    seen = Seen()
    store.put(f"{unique_key}-other", b"no")
    store.put(unique_key, b"no")
    store.watch(unique_key, seen, tree=True)
    seen.wait(lambda it: it == [])

    store.put(f"{unique_key}/b/c", b"1")
    store.put(f"{unique_key}/a", b"2")

    entries = seen.wait(lambda it: len(it) == 2)
    assert [(entry.key, entry.value) for entry in entries] == [
        (f"{unique_key}/a", b"2"),
        (f"{unique_key}/b/c", b"1"),
    ]


def test_leaders_and_no_leader(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """None, a leader, None after its session is gone although the value is there, the same again."""
    election = store.election(unique_key)
    seen = Seen()
    election.watch_leader(seen)
    seen.wait(lambda it: it is None)
    election.enter(session, b"Frank")
    first = seen.wait(lambda it: it is not None)
    session.close()
    seen.wait(lambda it: it is None)
    claim = election.enter(rival, b"Frank")
    second = seen.wait(lambda it: it is not None)

    assert (str(first), str(second)) == ("Frank", "Frank")
    assert second != first
    assert second.token == claim.token
    assert second.age < 2


def test_a_waiting_claim_is_woken_when_its_turn_may_have_come(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """Not by another term of another candidate, but by the end of one."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    told, woken = Seen(), Seen()
    store.watch(unique_key, told)
    election.on_turn(claim, woken)
    told.wait(lambda it: it is not None)
    assert woken == []

    election.withdraw(first)

    wait_until(lambda: woken)


@pytest.mark.parametrize("how", ["delete", "overwrite", "destroy", "withdraw"])
def test_a_leading_claim_is_woken_by_its_own_loss(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str, how: str
) -> None:
    """Within a notification, not with the next renewal."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    told, woken = Seen(), Seen()
    store.watch(unique_key, told)
    election.on_turn(claim, woken)
    told.wait(lambda it: it is not None)
    assert woken == []

    ways: dict[str, Callable[[], object]] = {
        "delete": lambda: consul.request("DELETE", f"/v1/kv/{unique_key}"),
        "overwrite": lambda: consul.request("PUT", f"/v1/kv/{unique_key}", "Claire"),
        "destroy": lambda: consul.request("PUT", f"/v1/session/destroy/{session.id}"),
        "withdraw": lambda: election.withdraw(claim),
    }
    ways[how]()

    wait_until(lambda: woken, 1.0)


def test_a_second_watch_gets_the_state_at_once(store: ConsulStore, unique_key: str) -> None:
    """Also when the poll it joins has nothing new to tell for half a minute."""
    store.put(unique_key, b"1")
    first, second, sibling = Seen(), Seen(), Seen()
    store.watch(unique_key, first)
    first.wait(_value(b"1"))
    store.watch(unique_key, second)
    second.wait(_value(b"1"), 1)
    store.watch(f"{unique_key}-sibling", sibling)

    sibling.wait(lambda it: it is None, 1)

    assert len(watch_threads()) == 1


def test_a_hundred_keys_take_at_most_eight_connections(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """However they are spread over folders, every one of them still tells of its changes."""
    link = proxy(consul.port)
    store, direct = opened(consul.url_at(link.port)), opened(consul.url)
    keys = [f"{unique_key}/{number % 25}/{number}" for number in range(100)]
    seen = {key: Seen() for key in keys}
    watches = [store.watch(key, seen[key]) for key in keys]
    most = len(watch_threads())
    for key in keys:
        seen[key].wait(lambda it: it is None)

    for key in keys[::9]:
        direct.put(key, key.encode())
    for key in keys[::9]:
        seen[key].wait(_value(key.encode()))

    assert max(most, len(watch_threads())) <= 8
    assert _open_links(link) <= 8
    assert all(f"/v1/kv/{unique_key}" in line for line in link.requests)
    for watch in watches:
        watch.close()
    wait_until(lambda: not watch_threads(), 1)
    wait_until(lambda: not _open_links(link), 1)


def _open_links(link: object) -> int:
    links = getattr(link, "_links")  # noqa: B009  # the proxy keeps count for itself only
    return len(links)


def test_keys_with_nothing_in_common_never_make_it_watch_the_root(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Without a prefix, the root may hold all that a company has: the overflow is read in turn."""
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
        seen[key].wait(_value(b"1"))
        direct.delete(key)

    assert len(watch_threads()) <= 8
    assert not link.count("recurse")


def test_what_an_outage_hides_is_told_after_it(
    consul: Consul, proxy: ProxyFactory, opened: Opener, session: ConsulSession, unique_key: str
) -> None:
    """One error, then the state of now, and a wake for every claim, changed or not."""
    link = proxy(consul.port)
    far, near = opened(consul.url_at(link.port)), opened(consul.url)
    election = near.election(unique_key)
    claim = election.enter(session, b"Frank")
    told, woken, leaders = Seen(), Seen(), Seen()
    far.watch(f"{unique_key}-other", told)
    far.election(unique_key).on_turn(claim, woken)
    far.election(unique_key).watch_leader(leaders)
    told.wait(lambda it: it is None)
    leader = leaders.wait(lambda it: it is not None)

    link.refuse()
    told.wait(lambda it: isinstance(it, StoreUnavailable))
    time.sleep(0.5)  # some retries, none of which is told
    near.put(f"{unique_key}-other", b"1")
    link.listen()
    told.wait(_value(b"1"), 6)

    wait_until(lambda: woken)
    assert leaders.wait(lambda it: not isinstance(it, StoreUnavailable)) == leader
    assert sum(isinstance(it, StoreUnavailable) for it in told) == 1


def test_after_an_outage_in_which_nothing_happened(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The state is told again, which ends the error; it does not take the next change for that."""
    link = proxy(consul.port)
    store, seen = opened(consul.url_at(link.port)), Seen()
    entry = opened(consul.url).put(unique_key, b"1")
    store.watch(unique_key, seen)
    seen.wait(_value(b"1"))
    link.reset()

    wait_until(lambda: len(seen) == 3)

    assert [seen[0], seen[2]] == [entry, entry]
    assert isinstance(seen[1], StoreUnavailable)


def test_a_view_that_comes_too_late_is_dropped() -> None:
    """The older one of two threads, and a poll that was merged into another, are not believed."""
    seen = Seen()
    subscription = Subscription(
        Scope("key"), lambda found, _: seen(found), lambda _: None, confirm=False
    )
    old, new = object(), object()
    subscription.follow(old)
    subscription.show(old, _view(2, b"2"))
    subscription.show(old, _view(1, b"1"))
    subscription.follow(new)
    subscription.show(new, _view(0, b"3"))
    subscription.show(old, _view(3, b"4"))

    assert [found[0].value for found in seen] == [b"2", b"3"]


def test_a_view_that_comes_during_a_callback_is_told_after_it() -> None:
    """One call at a time, in order; of several that came meanwhile, the last one."""
    values: list[bytes] = []

    def look(found: Found, _: bool) -> None:
        assert isinstance(found, tuple)
        if not values:  # as if another thread had come by twice
            subscription.show(None, _view(2, b"2"))
            subscription.show(None, _view(3, b"3"))
            assert values == []
        values.append(found[0].value)

    subscription = Subscription(Scope("key"), look, lambda _: None, confirm=False)
    subscription.show(None, _view(1, b"1"))

    assert values == [b"1", b"3"]


def _view(version: int, value: bytes) -> View:
    record = Record("key", value, 0, None, 1, int(value), 0)
    return View(version, {"key": record})


def test_closing_ends_the_thread_and_the_calls(store: ConsulStore, unique_key: str) -> None:
    """The last one who closes ends the poll at once, although it would wait for half a minute."""
    seen = Seen()
    watches = [store.watch(unique_key, seen), store.watch(unique_key, Seen())]
    seen.wait(lambda it: it is None)
    watches[0].close()
    watches[0].close()
    assert len(watch_threads()) == 1
    watches[1].close()

    wait_until(lambda: not watch_threads(), 1)
    store.put(unique_key, b"1")
    assert seen == [None]


def test_closing_the_store_ends_all_threads(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """They are gone when it returns, which takes no time."""
    store = opened(consul.url)
    for number in range(5):
        store.watch(f"{unique_key}/{number}/key", Seen())
    assert watch_threads()
    began = time.monotonic()

    store.close()

    assert watch_threads() == []
    assert time.monotonic() - began < 1


def test_a_callback_that_raises_hurts_nobody(
    store: ConsulStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; it is called again, and so are the others."""
    calls, seen = Seen(), Seen()

    def broken(change: object) -> None:
        calls(change)
        raise RuntimeError("of the user's own making")

    store.watch(unique_key, broken)
    store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")

    seen.wait(_value(b"1"))
    calls.wait(_value(b"1"))
    assert "of the user's own making" in caplog.text


def test_a_callback_may_close_its_own_watch(store: ConsulStore, unique_key: str) -> None:
    """It is not called again, and nothing waits for itself."""
    seen = Seen()
    mine: list[Closable] = []

    def close(change: object) -> None:
        seen(change)
        if isinstance(change, Entry):
            mine[0].close()

    mine.append(store.watch(unique_key, close))
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")
    seen.wait(_value(b"1"))

    wait_until(lambda: not watch_threads(), 1)


class _Script(BaseHTTPRequestHandler):
    """An agent gone mad: answers at once, whatever it is asked, with the next of its lines."""

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

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


Mad = Callable[[list[tuple[int, str, str]]], tuple[int, list[str]]]


@pytest.fixture
def mad() -> Iterator[Mad]:
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
def test_no_answer_makes_a_hot_loop(mad: Mad, opened: Opener, line: tuple[int, str, str]) -> None:
    """An agent that never waits is asked about five times a second, after a few at the start."""
    port, asked = mad([line])
    store = opened(f"consul://127.0.0.1:{port}")
    seen = Seen()
    store.watch("a/key", seen)

    time.sleep(1.5)

    assert 2 <= len(asked) <= 5 + 1.5 * 5 + 2


def test_an_index_that_goes_backwards_starts_from_zero(mad: Mad, opened: Opener) -> None:
    """A restored server counts anew: its state is told, and it is asked without an index."""
    port, asked = mad([(200, "90", _record(90)), (200, "7", _record(7, "Mg==")), (404, "7", "")])
    store = opened(f"consul://127.0.0.1:{port}")
    seen = Seen()

    store.watch("a/key", seen)

    seen.wait(lambda it: it is None)
    assert [entry.value for entry in seen[:2]] == [b"1", b"2"]
    assert "index=90" in asked[1]
    assert "index" not in asked[2]


def test_a_restarted_server_is_watched_again(
    consul_server: ConsulFactory, opened: Opener, unique_key: str
) -> None:
    """The watch re-arms itself."""
    server = consul_server()
    store = opened(server.url)
    seen = Seen()
    store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    server.kill()
    seen.wait(lambda it: isinstance(it, StoreUnavailable))
    server.start()
    store.put(unique_key, b"1")

    seen.wait(_value(b"1"), 8)
