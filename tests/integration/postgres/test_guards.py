"""The conditions that the functions of the schema check in the transaction of a write.

Each test has a schema of its own, so that it runs the SQL of this source, whatever ran before it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from leadership_core.backend import (
    Conflict,
    Fence,
    NotApplied,
    SessionLost,
    StoreUnavailable,
    call_timeout,
    claim_key,
)
from leadership_core.backend.protocols import Leading
from leadership_postgres import fence_sql
from leadership_postgres.store import PostgresStore
from tests.conftest import ProxyFactory
from tests.integration.postgres.conftest import Opener
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import at_most, wait_until

_KEY = "key"


@pytest.fixture
def schema(shared_postgres: PostgresServer) -> Iterator[str]:
    """The name of a schema that does not exist yet."""
    name = f"guards_{uuid.uuid4().hex[:12]}"
    yield name
    shared_postgres.ask(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def store(shared_postgres: PostgresServer, opened: Opener, schema: str) -> PostgresStore:
    return opened(f"{shared_postgres.url}?schema={schema}")


@pytest.fixture
def other(shared_postgres: PostgresServer, opened: Opener, schema: str) -> PostgresStore:
    """A store of another process, on the same schema."""
    return opened(f"{shared_postgres.url}?schema={schema}")


def test_claim_is_replaced_only_as_it_was_read(store: PostgresStore) -> None:
    """A candidate that was stopped between its read and its write replaces no newer claim."""
    read = store.put(claim_key(_KEY), b"first")
    newer = store.put(claim_key(_KEY), b"second", expect=read)

    with pytest.raises(Conflict):
        store.put(claim_key(_KEY), b"late", expect=read)
    with pytest.raises(Conflict):
        store.delete(claim_key(_KEY), expect=read)

    assert store.get(claim_key(_KEY)) == newer


def test_claim_of_a_session_that_was_ended_is_not_made(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Its holder does not know of the end yet: the write itself has to find it out."""
    session, election = store.open_session(30), store.election(_KEY)
    other.client.end_session(session.id, None)

    with pytest.raises(SessionLost):
        election.enter(session, b"a")

    assert other.get(claim_key(_KEY)) is None


def test_session_that_was_renewed_meanwhile_is_not_ended(
    store: PostgresStore, other: PostgresStore
) -> None:
    """An observer that was stopped after its last look ends no session of a leader."""
    session, election = store.open_session(30), store.election(_KEY)
    claim = election.enter(session, b"a")
    heartbeat = other.heartbeats.read_heartbeats([session.id])[session.id]
    session.renew()

    assert not other.heartbeats.end_session(heartbeat)

    session.renew()
    assert election.status(claim) == Leading(claim.token or 0)
    present = other.heartbeats.read_heartbeats([session.id])[session.id]
    assert other.heartbeats.end_session(present)
    with pytest.raises(SessionLost):
        session.renew()


def test_session_whose_renewals_the_server_has_lost_is_over(
    shared_postgres: PostgresServer, store: PostgresStore, schema: str
) -> None:
    """An older heartbeat in its row means an older state of the database: others may have acted on it."""
    session = store.open_session(30)
    (before,) = shared_postgres.ask(f"SELECT beat FROM {schema}.session")
    session.renew()
    session.renew()
    shared_postgres.ask(f"UPDATE {schema}.session SET beat = %s", before[0])

    with pytest.raises(SessionLost, match="has lost data"):
        session.renew()


@pytest.mark.parametrize("hours", [1, -1])
def test_session_of_an_election_does_not_depend_on_the_clock_of_the_server(
    hours: int, shared_postgres: PostgresServer, store: PostgresStore, schema: str
) -> None:
    """With a time of its last renewal that is an hour away, it is renewed, and its claim leads."""
    session, election = store.open_session(30), store.election(_KEY)
    claim = election.enter(session, b"a")
    shared_postgres.ask(
        f"UPDATE {schema}.session SET renewed = renewed + make_interval(hours => %s)", hours
    )

    assert election.status(claim) == Leading(claim.token or 0)
    lost = ""
    try:
        session.renew()
    except SessionLost as error:
        lost = str(error)
    assert not lost
    assert election.leader() is not None


def waits(server: PostgresServer, schema: str) -> bool:
    """Whether a statement on the schema waits for a lock."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return bool(server.ask(sql, f"%{schema}%"))


def test_claim_is_not_replaced_before_the_transaction_that_has_its_fence_ends(
    shared_postgres: PostgresServer, store: PostgresStore, schema: str
) -> None:
    """A withdrawal waits for the transaction, which has seen the claim, and writes under it."""
    session, election = store.open_session(30), store.election(_KEY)
    claim = election.enter(session, b"a")
    sql, parameters = fence_sql(Fence(_KEY, claim.token or 0), schema=schema)
    withdrawal = threading.Thread(target=election.withdraw, args=(claim,))
    with psycopg.connect(shared_postgres.url) as transaction:
        transaction.execute(sql.encode(), parameters)
        withdrawal.start()
        wait_until(lambda: waits(shared_postgres, schema) or not withdrawal.is_alive(), 10)
        waited = withdrawal.is_alive()
    withdrawal.join(at_most(10))

    assert waited
    assert store.get(claim_key(_KEY)) is None


def test_write_without_an_answer_has_an_unknown_outcome(
    shared_postgres: PostgresServer, store: PostgresStore, opened: Opener, proxy: ProxyFactory, schema: str
) -> None:  # fmt: skip
    """The answer was lost, and the write was made: it must not be repeated as if it were not."""
    link = proxy(shared_postgres.port)
    cut_off = opened(f"{shared_postgres.url_at(link.port)}?schema={schema}")
    cut_off.put("a", b"1")
    link.cut("down")

    with pytest.raises(StoreUnavailable) as raised, call_timeout(1.0):
        cut_off.put("a", b"2")

    assert not isinstance(raised.value, NotApplied)
    wait_until(lambda: getattr(store.get("a"), "value", None) == b"2", 5, "it was written")
