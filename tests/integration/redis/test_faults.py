"""Elections on a Redis with faults: its clock, its data, its scripts and its process."""

from __future__ import annotations

import time

import pytest

from leadership_core import SessionLost, open_store
from leadership_core.backend.url import StoreURL
from leadership_redis.store import RedisStore
from tests.conftest import RedisFactory
from tests.integration.redis.tools import KEY, contest
from tests.support.servers.fake_time import FakeTime
from tests.support.waiting import at_most, wait_until

HOUR = 3600.0


@pytest.mark.parametrize("release", ["redis"])
def test_wall_clock_of_the_server_changes_no_leader(
    release: str, redis_server: RedisFactory, fake_time: FakeTime
) -> None:
    """Set an hour ahead and back, the leader renews on, and the tokens of all terms grow."""
    server = redis_server(release=release, env=fake_time.env)
    with contest(server.url, server.url) as run:
        first = run.await_leader(at_most(10))
        for offset in (HOUR, 0.0, -HOUR, 0.0):
            fake_time.set(offset)
            time.sleep(2.0)
            assert not first.lost
            assert run.leader() is not None
        fake_time.set(-HOUR)
        leader = run.leader()
        assert leader is not None
        assert run.candidates[leader].resign(cooldown=60)
        second = run.await_leader(at_most(10), other_than=leader)
        assert second.token > first.token


def test_silent_leader_is_replaced_although_the_wall_clock_is_set_back(
    redis_server: RedisFactory, fake_time: FakeTime
) -> None:
    """A server that counted by its own clock would keep the claim for an hour."""
    server = redis_server(env=fake_time.env)
    with open_store(server.url) as store:
        session = store.open_session(1.5)
        backend = RedisStore(StoreURL.parse(server.url))
        claim = backend.election(KEY).enter(backend.open_session(1.5), b"dead")
        backend.close()
        session.close()
    fake_time.set(-HOUR)

    with contest(server.url) as run:
        assert claim.token is not None
        assert run.await_leader(at_most(10)).token > claim.token


def test_wall_clock_ahead_ends_entries_and_no_election(
    redis_server: RedisFactory, fake_time: FakeTime
) -> None:
    """A session whose entries the clock has ended is lost to its holder, and observed by the others."""
    server = redis_server(env=fake_time.env)
    with open_store(server.url) as store:
        plain, bound = store.open_session(30), store.open_session(30)
        store.put("bound", b"1", session=bound)
        fake_time.set(HOUR)

        assert store.get("bound") is None
        assert plain.renew() == 30
        with pytest.raises(SessionLost):
            bound.renew()
        with pytest.raises(SessionLost):
            store.put("again", b"1", session=bound)
        assert store.get("again") is None


def test_frozen_server_costs_the_leader_its_term(redis_server: RedisFactory) -> None:
    """Its connections stay open; there is a leader again after it goes on."""
    server = redis_server()
    with contest(server.url, server.url) as run:
        first = run.await_leader(at_most(10))
        server.pause()
        assert first.wait_lost(at_most(5))
        time.sleep(1.0)
        server.resume()
        assert run.await_leader(at_most(10)).token > first.token


def test_killed_server_keeps_the_leader_if_it_is_back_in_time(redis_server: RedisFactory) -> None:
    """All is in its append-only file, the session, too."""
    server = redis_server()
    with contest(server.url, server.url, ttl=8) as run:
        first = run.await_leader(at_most(10))
        server.restart()
        time.sleep(4)
        assert not first.lost


def test_flushed_scripts_are_sent_again(redis_server: RedisFactory) -> None:
    """Neither the leader nor a watch notices it."""
    server = redis_server()
    with contest(server.url, server.url) as run:
        first = run.await_leader(at_most(10))
        for _ in range(5):
            assert server.ask("SCRIPT FLUSH").startswith("+OK")
            time.sleep(0.5)
        assert not first.lost


@pytest.mark.parametrize("text", ["mine", "", "007 - mine", "12", "a b c"])
def test_claim_overwritten_by_hand_is_replaced(redis_server: RedisFactory, text: str) -> None:
    """Whatever is written there, it is an entry without a session, which a candidate replaces."""
    server = redis_server()
    assert server.ask(f'HSET {{leadership}}:entries {KEY}/.claim "{text}"').startswith(":1")
    with contest(server.url, server.url) as run:
        first = run.await_leader(at_most(5))
        assert server.ask(f'HSET {{leadership}}:entries {KEY} "{text}"').startswith(":1")
        with open_store(server.url) as store:
            entry = store.get(KEY)
            assert entry is not None
            assert entry.value == text.encode()
            store.put(KEY, b"new", expect=entry, fence=first)


@pytest.mark.parametrize("text", ["mine", "", "1000 x n -", "1000 1 n soon"])
def test_session_overwritten_by_hand_is_over(redis_server: RedisFactory, text: str) -> None:
    """Its holder loses it at the next renewal; if it has crashed, the others find it over at once."""
    server = redis_server()
    backend = RedisStore(StoreURL.parse(server.url))
    session, crashed = backend.open_session(60), backend.open_session(60)
    assert backend.election(KEY).enter(crashed, b"crashed").token is not None
    for one in (session, crashed):
        assert server.ask(f'HSET {{leadership}}:sessions {one.id} "{text}"').startswith(":0")

    with pytest.raises(SessionLost):
        session.renew()
    with contest(server.url) as run:
        run.await_leader(at_most(5))
    backend.close()


def test_lost_data_end_the_term_at_the_next_renewal(redis_server: RedisFactory) -> None:
    """Until then two may lead, as the page says; the tokens grow all the same."""
    server = redis_server()
    with contest(server.url, server.url, two_may_lead=True) as run:
        first = run.await_leader(at_most(10))
        assert server.ask("FLUSHALL").startswith("+OK")
        assert first.wait_lost(at_most(2))
        assert run.await_leader(at_most(10)).token > first.token


def test_closed_stores_leave_nothing_behind(redis_server: RedisFactory) -> None:
    """No key has an expiry, and after the end none but the revision is left."""
    server = redis_server()
    with contest(server.url, server.url) as run:
        run.await_leader(at_most(10))
        assert "expires=0" in server.ask("INFO keyspace")
    keys = server.ask("KEYS *")
    assert keys.startswith("*1\r\n"), keys
    assert "{leadership}:revision" in keys
    wait_until(lambda: server.info("connected_clients") == "1", 5, "all connections are closed")


def test_open_store_has_few_connections(redis_server: RedisFactory) -> None:
    """One for notifications, and no more for requests than are made at a time."""
    server = redis_server()
    with contest(server.url) as run:
        run.await_leader(at_most(10))
        time.sleep(1)
        assert int(server.info("connected_clients")) <= 1 + 1 + 4
        assert server.ask("PUBSUB NUMSUB {leadership}:changes").split("\r\n")[3] == ":1"
