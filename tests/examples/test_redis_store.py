"""What the example's store does when its Redis, or the way there, does not do what it should."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from leadership_core import Candidate, ForkedStore, Lost, StoreHandle, StoreRefused, URLError
from leadership_core.budget import budget
from leadership_core.errors import StoreUnavailable
from leadership_core.testing import Heard
from tests.conftest import ProxyFactory
from tests.examples.conftest import Opener, RedisFactory
from tests.servers.redis import RedisServer
from tests.support.machine import at_most


def stands(store: StoreHandle, value: str, ttl: float = 2.0) -> Candidate:
    """A candidate of the one election that these tests have."""
    return Candidate(store, "service/leader", value, ttl=ttl)


def test_a_wrong_password_is_told_at_once(redis_server: RedisFactory, opened: Opener) -> None:
    """The right one opens it; with none, or another one, waiting would not help."""
    redis = redis_server(password="s3cret/word")
    opened(redis.url).put("a", b"1")

    for wrong in ("", "guess@"):
        store = opened(f"redis://{':' if wrong else ''}{wrong}{redis.host}:{redis.port}")
        with pytest.raises(StoreRefused) as caught:
            stands(store, "one").wait_elected(5)
        assert "guess" not in str(caught.value)


def test_tls_checks_the_certificate(redis_server: RedisFactory, opened: Opener) -> None:
    """With the authority it works, without it is refused, and not checking has to be asked for."""
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
        "redis://a,b",
        "redis://localhost?db=1",
        "redis://localhost?ca=file",
        "redis://localhost/a//b",
    ],
)
def test_a_wrong_url_is_refused(url: str, opened: Opener) -> None:
    """Before anybody is contacted."""
    with pytest.raises(URLError):
        opened(url)


def test_an_unknown_host_is_refused(opened: Opener) -> None:
    """Nobody will ever answer there."""
    with pytest.raises(StoreRefused):
        opened("redis://no-such-host.invalid").get("a")


def test_a_term_outlives_a_crash_of_the_server(redis: RedisServer, opened: Opener) -> None:
    """Killed and started again with its data: the same term goes on, and its fence holds."""
    candidate = stands(opened(redis.url), "one", ttl=6)
    term = candidate.wait_elected(5)
    assert term is not None

    redis.restart()

    term.ensure(5.0)
    assert candidate.term == term
    assert candidate.is_leader
    opened(redis.url).put("data", b"1", fence=term.fence)


def test_tokens_grow_when_all_data_were_lost(redis: RedisServer, opened: Opener) -> None:
    """A Redis that begins anew gives larger tokens than it did before."""
    store = opened(redis.url)
    candidate = stands(store, "one")
    first = candidate.wait_elected(5)
    assert first is not None
    candidate.stop()

    redis.kill()
    shutil.rmtree(redis.folder / "data")
    (redis.folder / "data").mkdir()
    redis.start()

    second = stands(store, "two").wait_elected(10)
    assert second is not None
    assert second.token > first.token


def test_a_leader_is_replaced_after_its_belief_has_ended(
    redis: RedisServer, proxy: ProxyFactory, opened: Opener
) -> None:
    """Cut off from Redis, it stops believing by itself, and only then another one is elected."""
    link = proxy(redis.port)
    first = stands(opened(redis.url_at(link.port)), "one")
    term = first.wait_elected(5)
    assert term is not None
    second = stands(opened(redis.url), "two")
    assert second.wait_elected(0) is None
    events = first.events()

    link.cut()
    ended = next(event for event in events if isinstance(event, Lost))
    assert not second.is_leader
    assert second.wait_elected(5) is not None
    assert (ended.reason, first.is_leader) == ("expired", False)
    link.heal()  # so that it can leave


def test_resigning_hands_over_at_once(redis: RedisServer, opened: Opener) -> None:
    """The next one hears the bell; nobody waits for a ttl, nor for the next look."""
    first, second = stands(opened(redis.url), "one", 30), stands(opened(redis.url), "two", 30)
    assert first.wait_elected(5) is not None
    assert second.wait_elected(0.3) is None

    begun = time.monotonic()
    first.resign(cooldown=30)
    assert second.wait_elected(5) is not None
    assert time.monotonic() - begun < at_most(1.0)


def test_a_watch_goes_on_over_broken_connections(
    redis: RedisServer, proxy: ProxyFactory, opened: Opener
) -> None:
    """Reset, refused, cut and healed: afterwards it tells what has changed meanwhile."""
    link, heard, writer = proxy(redis.port), Heard(), opened(redis.url)
    opened(redis.url_at(link.port)).watch("a", heard)
    assert heard.last_is(None)

    for number, harm in enumerate((link.reset, link.refuse, link.cut)):
        harm()
        entry = writer.put("a", b"%d" % number)
        link.heal()
        link.listen()
        assert heard.last_is(entry, 10), f"after {harm.__name__}: {heard}"


def test_a_watch_says_that_the_store_is_away(redis: RedisServer, opened: Opener) -> None:
    """In-band, once, and the state follows when it is back."""
    told: list[object] = []
    away, back = threading.Event(), threading.Event()

    def hear(change: object) -> None:
        told.append(change)
        (away if isinstance(change, StoreUnavailable) else back).set()

    opened(redis.url).watch("a", hear)
    assert back.wait(5)
    back.clear()
    redis.kill()
    assert away.wait(5)
    redis.start()
    assert back.wait(5)
    assert [type(change) for change in told] == [type(None), StoreUnavailable, type(None)]


def test_a_frozen_server_holds_nobody_up(redis: RedisServer, opened: Opener) -> None:
    """Each request ends with its budget, and so does closing; no thread is left."""
    store = opened(redis.url)
    heard = Heard()
    store.watch("a", heard)
    assert heard.last_is(None)

    redis.pause()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), budget(0.3):
        store.get("a")
    assert time.monotonic() - begun < at_most(1.0)
    store.close(timeout=0.5)
    assert time.monotonic() - begun < at_most(2.0)
    redis.resume()


def test_a_forked_child_is_inert(redis: RedisServer, opened: Opener) -> None:
    """It neither uses the parent's connections nor ends its session, and it says so."""
    store = opened(redis.url)
    session = store.open_session(30)
    entry = store.put("a", b"1", session=session)
    watch = store.watch("b", Heard())

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


def test_a_closed_store_has_no_connection_left(redis: RedisServer, opened: Opener) -> None:
    """Nor has it while its requests are few: they are used again."""
    store = opened(redis.url)
    for _ in range(20):
        store.get("a")
    clients = redis.ask("INFO clients")
    assert "connected_clients:2\r\n" in clients, clients

    store.watch("a", Heard())
    store.close()
    deadline = time.monotonic() + 3
    while "connected_clients:1\r\n" not in redis.ask("INFO clients"):
        assert time.monotonic() < deadline, redis.ask("INFO clients")
        time.sleep(0.01)
