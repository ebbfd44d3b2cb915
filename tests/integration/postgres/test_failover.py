"""Failover to a standby, and servers that take no writes."""

from __future__ import annotations

import threading

import pytest

from leadership_core import Candidate, Follower, Store, StoreUnavailable, open_store
from leadership_core.backend import NotApplied
from tests.conftest import PostgresFactory
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import at_most, wait_until

TTL = 3.0


@pytest.fixture
def primary(postgres_server: PostgresFactory) -> PostgresServer:
    return postgres_server()


@pytest.fixture
def standby(postgres_server: PostgresFactory, primary: PostgresServer) -> PostgresServer:
    return postgres_server(standby_of=primary)


def test_election_goes_on_at_the_promoted_standby(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """The primary is killed; the candidates find the new one by the URL, and one at a time leads."""
    url = primary.url_at(primary.port, standby.port)
    with open_store(url) as one, open_store(url) as two, open_store(url) as seeing:
        first, second = (
            Candidate(one, "k", "first", ttl=TTL),
            Candidate(two, "k", "second", ttl=TTL),
        )
        term = first.wait_elected(at_most(10))
        assert term is not None
        second.start()
        follower = Follower(seeing, "k")
        follower.follow_election()
        received = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        written = primary.ask("SELECT pg_current_wal_flush_lsn()::text")[0][0]
        wait_until(lambda: standby.ask(received, written)[0][0], 10, "the standby has it all")

        primary.kill()
        standby.promote()
        wait_until(lambda: first.term or second.term, 20, "a candidate leads at the new primary")

        now = first.term or second.term
        assert now is not None
        assert now is term or now.token > term.token
        assert not (first.term and second.term)
        wait_until(lambda: follower.leader, 20, "the follower reads from the new primary")
        for candidate in (first, second):
            candidate.stop()


def test_standby_alone_is_not_used(primary: PostgresServer, standby: PostgresServer) -> None:
    """Not even for reads, which may be old; it may be promoted, so it is tried again."""
    with open_store(primary.url) as store:
        store.put("k", b"1")

    with (
        open_store(standby.url) as store,
        pytest.raises(NotApplied, match=r"standby, or read-only: name the primary, or all hosts"),
    ):
        store.get("k")


def test_primary_is_found_behind_a_standby(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """The order of the hosts does not matter."""
    with open_store(primary.url_at(standby.port, primary.port)) as store:
        assert store.get(store.put("k", b"1").key) is not None


def test_revisions_grow_over_crashes_of_the_server(primary: PostgresServer) -> None:
    """A value of the sequence that was answered is not given again, and no answered write is lost."""
    with open_store(primary.url) as store:
        before = store.put("k", b"1")
        for _ in range(2):
            primary.restart()
            wait_until(lambda: _reads(store, "k"), 10, "it reads again")
            after = store.put("k", b"2", expect=before)
            assert after.revision > before.revision
            before = after


def _reads(store: Store, key: str) -> bool:
    try:
        return store.get(key) is not None
    except StoreUnavailable:
        return False


def test_write_that_was_not_replicated_is_no_success(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """A wait for the synchronous standby that an operator cancels leaves the outcome unknown."""
    with open_store(primary.url) as store:
        store.put("k", b"1")
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'walreceiver'")
        primary.ask("SELECT pg_reload_conf()")
        wait_until(
            lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)],
            10,
            "it is synchronous",
        )
        store.put("k", b"2")
        standby.pause()
        problems: list[BaseException] = []

        def put() -> None:
            try:
                store.put("k", b"3")
            except StoreUnavailable as error:
                problems.append(error)

        thread = threading.Thread(target=put)
        thread.start()
        waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until(lambda: primary.ask(waiting), 4, "the commit waits for the standby")
        thread.join(10)
        standby.resume()

    assert [
        str(one)
        for one in problems
        if "unknown whether it is on the synchronous standby" in str(one)
    ]
