"""Transactions of the user's own that depend on a term: psycopg, SQLAlchemy and Django."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
import sqlalchemy

from leadership_core import Candidate, ConfigurationError, NotElected, Store, Term, open_store
from leadership_core.backend import Fence
from leadership_postgres import fence_sql
from tests.support.paths import ROOT
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import at_most


@pytest.fixture
def table(shared_postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A table of the user's own, with one row whose number is 0."""
    name = f"account_{abs(hash(request.node.name)) % 10**9}"
    shared_postgres.ask(f"CREATE TABLE {name} (id int PRIMARY KEY, number int)")
    shared_postgres.ask(f"INSERT INTO {name} VALUES (1, 0)")
    shared_postgres.ask(f"GRANT ALL ON {name} TO PUBLIC")
    yield name
    shared_postgres.ask(f"DROP TABLE {name}")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"fence/{request.node.name}"


@pytest.fixture
def user_store(shared_postgres: PostgresServer) -> Iterator[Store]:
    with open_store(f"{shared_postgres.url}?prefix=some/prefix") as store:
        yield store


def elected(candidate: Candidate) -> Term:
    """The term of the candidate, which is started if it is not."""
    term = candidate.wait_elected(at_most(10))
    assert term is not None
    return term


def number_in(server: PostgresServer, table: str) -> object:
    return server.ask(f"SELECT number FROM {table}")[0][0]


def test_transaction_of_psycopg_is_committed_during_the_term_only(
    shared_postgres: PostgresServer, user_store: Store, table: str, key: str
) -> None:
    candidate = Candidate(user_store, key, "a", ttl=10)
    term = elected(candidate)
    fence = fence_sql(term, prefix="some/prefix")
    with psycopg.connect(shared_postgres.url) as connection:
        connection.execute(f"UPDATE {table} SET number = 1".encode())
        connection.execute(fence[0].encode(), fence[1])
    assert candidate.stop()

    over = f"the term with token {term.token} of .*{key} is over"
    with psycopg.connect(shared_postgres.url) as connection:
        connection.execute(f"UPDATE {table} SET number = 2".encode())
        with pytest.raises(psycopg.Error, match=over) as caught:
            connection.execute(fence[0].encode(), fence[1])
        connection.commit()  # the server has rolled it back

    assert caught.value.sqlstate == "LD001"
    assert number_in(shared_postgres, table) == 1


def test_transaction_of_sqlalchemy_is_committed_during_the_term_only(
    shared_postgres: PostgresServer, user_store: Store, table: str, key: str
) -> None:
    engine = sqlalchemy.create_engine(
        shared_postgres.url.replace("postgresql:", "postgresql+psycopg:")
    )
    candidate = Candidate(user_store, key, "a", ttl=10)
    sql, parameters = fence_sql(elected(candidate), prefix="some/prefix", style="named")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE {table} SET number = 1"))
        connection.execute(sqlalchemy.text(sql), parameters)
    assert candidate.stop()

    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE {table} SET number = 2"))
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="is over"):
            connection.execute(sqlalchemy.text(sql), parameters)
        connection.commit()  # the server has rolled it back

    assert number_in(shared_postgres, table) == 1
    engine.dispose()


_DJANGO = """
import sys
from urllib.parse import unquote, urlsplit
import django
from django.conf import settings
url = urlsplit(sys.argv[1])
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
    "PASSWORD": unquote(url.password), "HOST": url.hostname, "PORT": url.port}})
django.setup()
from django.db import DatabaseError, connection, transaction
from leadership_core.backend import Fence
from leadership_postgres import fence_sql
fence = fence_sql(Fence.parse(sys.argv[3]), prefix="some/prefix")
try:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {sys.argv[2]} SET number = number + 1")
        cursor.execute(*fence)
except DatabaseError as error:
    print("refused:", error.__cause__.sqlstate)
else:
    print("committed")
"""


def test_transaction_of_django_is_committed_during_the_term_only(
    shared_postgres: PostgresServer, user_store: Store, table: str, key: str
) -> None:
    candidate = Candidate(user_store, key, "a", ttl=10)
    fence = str(elected(candidate).fence)

    def transaction() -> str:
        return subprocess.run(
            [sys.executable, "-c", _DJANGO, shared_postgres.url, table, fence],
            cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    during = transaction()
    assert candidate.stop()

    assert (during, transaction()) == ("committed", "refused: LD001")
    assert number_in(shared_postgres, table) == 1


def test_open_transaction_keeps_the_next_candidate_from_leading(
    shared_postgres: PostgresServer, user_store: Store, table: str, key: str
) -> None:
    """It is elected when the transaction has been committed, and not before."""
    first = Candidate(user_store, key, "a", ttl=3)
    sql, parameters = fence_sql(elected(first), prefix="some/prefix")
    with psycopg.connect(shared_postgres.url) as connection:
        connection.execute(sql.encode(), parameters)
        stopping = threading.Thread(target=first.stop)
        stopping.start()
        second = Candidate(user_store, key, "b", ttl=3)

        # The withdrawal of the first waits for the transaction, so the store may have given no answer.
        with suppress(NotElected):
            assert second.wait_elected(1.0) is None
        connection.execute(f"UPDATE {table} SET number = 1".encode())

    assert elected(second).token > parameters[1]
    assert number_in(shared_postgres, table) == 1
    stopping.join()
    second.stop()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_transaction_that_has_begun_before_a_new_term_fails(
    level: str, shared_postgres: PostgresServer, user_store: Store, key: str
) -> None:
    """Its snapshot shows the old claim; the lock of the row finds that this has gone."""
    candidate = Candidate(user_store, key, "a", ttl=10)
    sql, parameters = fence_sql(elected(candidate), prefix="some/prefix")
    with psycopg.connect(shared_postgres.url) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        connection.execute("SELECT 1")
        assert candidate.stop()
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(sql.encode(), parameters)

    assert caught.value.sqlstate in {"LD001", "40001"}


@pytest.mark.parametrize(
    ("schema", "style", "expected"),
    [
        ("a b", "format", ('SELECT "a b".fence(%s, %s)', ("k", 1))),
        ('a"; DROP', "numeric", ('SELECT "a""; DROP".fence($1, $2)', ("k", 1))),
        ("100%", "format", ('SELECT "100%%".fence(%s, %s)', ("k", 1))),
        ("a:b", "named", ('SELECT "a\\:b".fence(:key, :token)', {"key": "k", "token": 1})),
    ],
)
def test_schema_is_quoted_in_the_statement(schema: str, style: str, expected: object) -> None:
    assert fence_sql(Fence("k", 1), schema=schema, style=style) == expected  # type: ignore[arg-type]  # of a table


@pytest.mark.parametrize(
    "call",
    [
        lambda: fence_sql("1:k"),  # type: ignore[arg-type]  # a mistake of users
        lambda: fence_sql(Fence("k", 1), schema=""),
        lambda: fence_sql(Fence("k", 1), schema="pg_x"),
        lambda: fence_sql(Fence("k", 1 << 63)),
        lambda: fence_sql(Fence("k", 1), style="pyformat"),  # type: ignore[arg-type]  # as above
    ],
)
def test_wrong_arguments_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(ConfigurationError):
        call()
