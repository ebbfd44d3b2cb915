"""The grants of `docs/operations.md`: all of them are enough, and each one is needed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import psycopg
import pytest

import leadership_postgres
from leadership_core import StoreRefused, open_store
from leadership_core.backend import Fence
from tests.support.permissions import USES, Rights, Variant, check, try_all
from tests.support.servers.postgres import PostgresServer

RIGHTS = Rights.of("PostgreSQL")
FENCED = "transactions with fence_sql"
_NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def prepared(shared_postgres: PostgresServer) -> None:
    """The owner of the database has applied the SQL of the schema."""
    with open_store(shared_postgres.url) as store:
        store.get("a")


def url_with(server: PostgresServer, lines: list[str]) -> str:
    """The URL of a new user with these grants, as the page writes them."""
    user = f"user{next(_NUMBERS)}"
    server.ask(f"CREATE ROLE {user} LOGIN PASSWORD 'pw'")
    for line in lines:
        server.ask(line.replace("worker", user))
    return f"postgresql://{user}:pw@{server.host}:{server.port}/{server.database}"


def variants(lines: list[str]) -> Iterator[Variant]:
    """Without each grant, on each of its tables."""
    for number, line in enumerate(lines):
        rest = lines[:number] + lines[number + 1 :]
        if "SCHEMA" in line or "SEQUENCE" in line:
            yield Variant(line, rest, "`SCHEMA`" if "SCHEMA" in line else "`SEQUENCE`")
            continue
        for table in re.findall(r"leadership\.\w+", line):
            left = line.replace(f"{table}, ", "").replace(f", {table}", "")
            yield Variant(
                f"{line}: {table}", [*rest, *([left] if left != line else [])], "`leadership.entry`"
            )


@pytest.mark.parametrize("use", USES)
def test_listed_grants_are_enough_and_needed(use: str, shared_postgres: PostgresServer) -> None:
    """With each missing one the program gets the error of the page."""
    lines = RIGHTS.lines[use]
    missing = {one.what: one for one in variants(lines)}
    if use != "follower":
        missing = {name: one for name, one in missing.items() if _is_seen_at_once(use, name)}
    urls = {name: url_with(shared_postgres, one.lines) for name, one in missing.items()}

    errors = try_all(use, url_with(shared_postgres, lines), urls, shared_postgres.url)

    for name, error in errors.items():
        assert any(text in error for text in RIGHTS.messages(missing[name].row)), (name, error)


def _is_seen_at_once(use: str, name: str) -> bool:
    """Whether the first write needs it; later ones are repeated, and their refusals are in the log."""
    if "SCHEMA" in name or "SEQUENCE" in name:
        return True
    if use == "entries":  # they open no session, and reads look at both tables
        return name.endswith("entry") or name.startswith("GRANT SELECT")
    return "DELETE" not in name and (name.endswith("entry") or name.startswith("GRANT INSERT"))


def test_check_needs_the_listed_grants(shared_postgres: PostgresServer) -> None:
    """It passes with them; without, it stops at the first contact."""
    done = check(url_with(shared_postgres, RIGHTS.lines["leadership check"]))
    refused = check(url_with(shared_postgres, []))

    assert (done.returncode, done.stderr) == (0, ""), done
    assert refused.returncode == 4
    assert RIGHTS.messages("`SCHEMA`")[0] in refused.stderr


def test_fenced_transactions_need_the_listed_grants(shared_postgres: PostgresServer) -> None:
    """With all of them the term is found to be over; with each missing one, permission is denied."""
    lines = RIGHTS.lines[FENCED]
    sql, parameters = leadership_postgres.fence_sql(Fence("no/such", 1))

    def state_with(granted: list[str]) -> str | None:
        with (
            psycopg.connect(url_with(shared_postgres, granted)) as connection,
            pytest.raises(psycopg.Error) as caught,
        ):
            connection.execute(sql.encode(), parameters)
        return caught.value.sqlstate

    assert state_with(lines) == "LD001"
    for number in range(len(lines)):
        left = lines[:number] + lines[number + 1 :]
        assert state_with(left) == "42501", lines[number]


def test_error_without_the_right_to_create_names_the_remedy(
    shared_postgres: PostgresServer,
) -> None:
    """The error names the schema, the right, and the SQL that an administrator applies."""
    url = f"{url_with(shared_postgres, [])}?schema=not_there"

    with (
        open_store(url) as store,
        pytest.raises(StoreRefused, match=r"not_there.*CREATE on the database.*schema_sql\(\)"),
    ):
        store.get("a")
