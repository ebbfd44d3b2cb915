"""Fixtures of PostgreSQL and PgBouncer: a shared server, and those of a single test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.servers.postgres import PgBouncer, PostgresServer
from tests.support.servers.requirements import asked, found

__all__ = ["PostgresFactory", "pgbouncer", "postgres", "postgres_server", "shared_postgres"]


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests share; they use keys of their own and leave it running."""
    own = PostgresServer(found("postgres"), tmp_path_factory.mktemp("postgres"))
    try:
        own.start()
        yield own
    finally:
        own.remove()


class PostgresFactory(Protocol):
    """Starts a server; the arguments are those of `PostgresServer`, and a row of `releases`."""

    def __call__(
        self,
        *,
        release: str = "",
        tls: bool | str = False,
        settings: dict[str, str] | None = None,
        standby_of: PostgresServer | None = None,
        clock: bool = False,
    ) -> PostgresServer: ...


@pytest.fixture
def postgres_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PostgresFactory]:
    """Start PostgreSQL servers of the test's own, which it may stop, kill, freeze and restart."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(*, release: str = "", **options: Any) -> PostgresServer:
            place = found(release or asked(request, "postgres"))
            server = PostgresServer(place, tmp_path / f"postgres-{next(numbers)}", **options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def postgres(postgres_server: PostgresFactory) -> PostgresServer:
    """A PostgreSQL server of the test's own."""
    return postgres_server()


@pytest.fixture
def pgbouncer(tmp_path: Path, shared_postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A PgBouncer of the test's own before the shared server, in transaction mode."""
    own = PgBouncer(found("pgbouncer"), tmp_path / "pgbouncer", shared_postgres)
    try:
        own.start()
        yield own
    finally:
        own.remove()
