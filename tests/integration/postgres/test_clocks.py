"""The wall clock of the server, set an hour ahead and back: no election depends on it."""

from __future__ import annotations

import time
from functools import partial

import pytest

from leadership_core import Candidate, SessionLost, open_store
from tests.conftest import PostgresFactory
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import at_most, wait_until

TTL = 2.0
HOUR = 3600


@pytest.fixture
def server(postgres_server: PostgresFactory) -> PostgresServer:
    return postgres_server(clock=True)


def now_of(server: PostgresServer) -> float:
    found = server.ask("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0]
    assert isinstance(found, float)
    return found


def is_ahead(server: PostgresServer, seconds: float) -> bool:
    return abs(now_of(server) - time.time() - seconds) < 60


def test_jumps_of_the_clock_make_neither_two_leaders_nor_none(server: PostgresServer) -> None:
    """The leader leads on through both jumps, and a successor of a leader that is cut off comes in time."""
    with open_store(server.url) as one, open_store(server.url) as two:
        first, second = (
            Candidate(one, "k", "first", ttl=TTL),
            Candidate(two, "k", "second", ttl=TTL),
        )
        term = first.wait_elected(at_most(10))
        assert term is not None
        second.start()

        for ahead in (HOUR, -HOUR):
            server.set_clock(ahead)
            wait_until(partial(is_ahead, server, ahead), 5, "the clock is set")
            ends = time.monotonic() + 2 * TTL
            while time.monotonic() < ends:
                assert first.term is term, "a jump of the clock has ended a term"
                assert second.term is None, "two leaders"
                time.sleep(0.02)

        assert first.stop()
        successor = second.wait_elected(at_most(10))
        assert successor is not None
        assert successor.token > term.token
        second.stop()


def test_clock_that_is_ahead_ends_entries_but_no_term(server: PostgresServer) -> None:
    """What is bound to a session ends by the server's clock, and the session says so."""
    with open_store(server.url) as store:
        unbound, bound = store.open_session(ttl=60), store.open_session(ttl=60)
        store.put("bound", b"1", session=bound)
        unbound.renew()

        server.set_clock(HOUR)

        wait_until(lambda: store.get("bound") is None, 5, "the entry has ended")
        unbound.renew()
        with pytest.raises(SessionLost):
            bound.renew()
