"""Faults of the Redis server or its network under the example's store."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from leadership_core import Candidate, ForkedStore, Lost, Store, StoreRefused, URLError
from leadership_core.backend.deadline import call_timeout
from leadership_core.errors import StoreUnavailable
from leadership_core.testing import WatchRecorder
from tests.conftest import ProxyFactory
from tests.integration.plugin.conftest import Opener, RedisFactory
from tests.support.servers.redis import RedisServer
from tests.support.waiting import at_most


def make_candidate(store: Store, value: str, ttl: float = 2.0) -> Candidate:
    """A candidate in the one election of these tests."""
    return Candidate(store, "service/leader", value, ttl=ttl)


def test_wrong_password_is_refused_at_once(redis_server: RedisFactory, opened: Opener) -> None:
    """The right one opens the store; waiting would not help with a wrong one."""
    redis = redis_server(password="s3cret/word")
    opened(redis.url).put("a", b"1")

    for wrong in ("", "guess@"):
        store = opened(f"redis-example://{':' if wrong else ''}{wrong}{redis.host}:{redis.port}")
        with pytest.raises(StoreRefused) as caught:
            make_candidate(store, "one").wait_elected(5)
        assert "guess" not in str(caught.value)


def test_tls_verifies_the_certificate(redis_server: RedisFactory, opened: Opener) -> None:
    """It works with the right authority, is refused without it, and can be turned off explicitly."""
    redis = redis_server(tls=True)
    opened(redis.url).put("a", b"1")

    plain = redis.url.partition("?")[0]
    with pytest.raises(StoreRefused):
        opened(plain).get("a")
    entry = opened(f"{plain}?verify=false").get("a")
    assert entry is not None


@pytest.mark.parametrize(
    "url",
    [
        "redis-example://a,b",
        "redis-example://localhost?db=1",
        "redis-example://localhost?ca=file",
        "redis-example://localhost/a//b",
    ],
)
def test_wrong_url_is_refused(url: str, opened: Opener) -> None:
    """It is refused before any request."""
    with pytest.raises(URLError):
        opened(url)


def test_unknown_host_is_refused(opened: Opener) -> None:
    """It is a lasting error."""
    with pytest.raises(StoreRefused):
        opened("redis-example://no-such-host.invalid").get("a")


def test_term_survives_a_crash_of_the_server(redis: RedisServer, opened: Opener) -> None:
    """Redis is killed and started again with its data: the term goes on, and its fence is valid."""
    candidate = make_candidate(opened(redis.url), "one", ttl=6)
    term = candidate.wait_elected(5)
    assert term is not None

    redis.restart()

    term.ensure(5.0)
    assert candidate.term == term
    assert candidate.is_leader
    opened(redis.url).put("data", b"1", fence=term.fence)


def test_tokens_grow_after_all_data_were_lost(redis: RedisServer, opened: Opener) -> None:
    """A Redis without its data grants larger tokens than before."""
    store = opened(redis.url)
    candidate = make_candidate(store, "one")
    first = candidate.wait_elected(5)
    assert first is not None
    candidate.stop()

    redis.kill()
    shutil.rmtree(redis.folder / "data")
    (redis.folder / "data").mkdir()
    redis.start()

    second = make_candidate(store, "two").wait_elected(10)
    assert second is not None
    assert second.token > first.token


def test_leader_cut_off_stops_before_the_next_is_elected(
    redis: RedisServer, proxy: ProxyFactory, opened: Opener
) -> None:
    """It stops leading by its own clock."""
    link = proxy(redis.port)
    first = make_candidate(opened(redis.url_at(link.port)), "one")
    term = first.wait_elected(5)
    assert term is not None
    second = make_candidate(opened(redis.url), "two")
    assert second.wait_elected(0) is None
    events = first.events()

    link.cut()
    ended = next(event for event in events if isinstance(event, Lost))
    assert not second.is_leader
    assert second.wait_elected(5) is not None
    assert (ended.reason, first.is_leader) == ("expired", False)
    link.heal()  # so that it can leave


def test_resign_hands_over_at_once(redis: RedisServer, opened: Opener) -> None:
    """The next candidate is notified: it waits neither for a ttl nor for the next poll."""
    first, second = (
        make_candidate(opened(redis.url), "one", 30),
        make_candidate(opened(redis.url), "two", 30),
    )
    assert first.wait_elected(5) is not None
    assert second.wait_elected(0.3) is None

    begun = time.monotonic()
    first.resign(cooldown=30)
    assert second.wait_elected(5) is not None
    assert time.monotonic() - begun < at_most(1.0)


def test_watch_continues_over_broken_connections(
    redis: RedisServer, proxy: ProxyFactory, opened: Opener
) -> None:
    """After resets, refusals and cuts it reports the changes made meanwhile."""
    link, recorder, writer = proxy(redis.port), WatchRecorder(), opened(redis.url)
    opened(redis.url_at(link.port)).watch("a", recorder)
    assert recorder.last_is(None)

    for number, harm in enumerate((link.reset, link.refuse, link.cut)):
        harm()
        entry = writer.put("a", b"%d" % number)
        link.heal()
        link.listen()
        assert recorder.last_is(entry, 10), f"after {harm.__name__}: {recorder}"


def test_watch_reports_an_outage(redis: RedisServer, opened: Opener) -> None:
    """It reports the outage once, and the state when the store is back."""
    reported: list[object] = []
    away, back = threading.Event(), threading.Event()

    def hear(change: object) -> None:
        reported.append(change)
        (away if isinstance(change, StoreUnavailable) else back).set()

    opened(redis.url).watch("a", hear)
    assert back.wait(5)
    back.clear()
    redis.kill()
    assert away.wait(5)
    redis.start()
    assert back.wait(5)
    assert [type(change) for change in reported] == [type(None), StoreUnavailable, type(None)]


def test_requests_to_a_frozen_server_end_within_their_timeout(
    redis: RedisServer, opened: Opener
) -> None:
    """So does closing, and no thread is left."""
    store = opened(redis.url)
    recorder = WatchRecorder()
    store.watch("a", recorder)
    assert recorder.last_is(None)

    redis.pause()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), call_timeout(0.3):
        store.get("a")
    assert time.monotonic() - begun < at_most(1.0)
    store.close(timeout=0.5)
    assert time.monotonic() - begun < at_most(2.0)
    redis.resume()


def test_forked_child_is_inert(redis: RedisServer, opened: Opener) -> None:
    """It neither uses the parent's connections nor ends its session; its calls raise."""
    store = opened(redis.url)
    session = store.open_session(30)
    entry = store.put("a", b"1", session=session)
    watch = store.watch("b", WatchRecorder())

    child = os.fork()
    if child == 0:
        code = 1
        try:
            for call in (lambda: store.get("a"), session.renew, session.close):
                with pytest.raises(ForkedStore):
                    call()
            watch.close()
            store.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.get("a") == entry
    assert session.renew() == 30


def test_closed_store_leaves_no_connection(redis: RedisServer, opened: Opener) -> None:
    """While it is open, a few connections are reused."""
    store = opened(redis.url)
    for _ in range(20):
        store.get("a")
    clients = redis.ask("INFO clients")
    assert "connected_clients:2\r\n" in clients, clients

    store.watch("a", WatchRecorder())
    store.close()
    deadline = time.monotonic() + 3
    while "connected_clients:1\r\n" not in redis.ask("INFO clients"):
        assert time.monotonic() < deadline, redis.ask("INFO clients")
        time.sleep(0.01)
