"""The URL of a PostgreSQL store: what it means, what it refuses, and TLS."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from leadership_core import ConfigurationError, StoreRefused, open_store
from leadership_core.backend import StoreURL
from leadership_postgres.options import Options
from leadership_postgres.schema import schema_sql
from tests.conftest import PostgresFactory
from tests.support.servers.certificates import Certificates
from tests.support.servers.postgres import PostgresServer


def read(url: str) -> Options:
    return Options.read(StoreURL.parse(url))


def test_defaults() -> None:
    """The rest is libpq's, such as a password in ~/.pgpass."""
    options = read("postgres://ann@db/app")

    assert [str(host) for host in options.hosts] == ["db:5432"]
    assert (options.user, options.database, options.password) == ("ann", "app", None)
    assert (options.schema, options.prefix, options.pgbouncer) == ("leadership", "", False)
    assert options.tls == {"sslmode": "prefer"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://db", "the path of postgresql:// is the name of the database"),
        ("postgresql://db/a/b", "the path of postgresql:// is the name of the database"),
        ("postgresql://:secret@db/a", "a password needs a user"),
        ("postgresql://db/a?schema=pg_x", "'schema'"),
        ("postgresql://db/a?prefix=a//b", "'prefix'"),
        ("postgresql://db/a?poll=0", "'poll'"),
        ("postgresql://db/a?connections=1", "'connections'"),
        ("postgresql://db/a?sslmode=verify", "verify-full"),
        ("postgresql+tls://db/a?sslmode=require", "goes without [+]tls"),
        ("postgresql://db/a?ca=/x", "needs TLS"),
        ("postgresql+tls://db/a?ca=/not/there", "cannot read the TLS file"),
        ("postgresql://db/a?sslmode=verify-full&sslrootcert=/not/there", "cannot read the TLS file"),
    ],
)  # fmt: skip
def test_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(url)


def test_plain_password_to_another_machine_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    read("postgresql://ann:secret@db.example/app")
    read("postgresql://ann:secret@db.example/app?sslmode=require")

    first, second = (one.getMessage() for one in caplog.records)
    assert "plain text" in first
    assert "the certificate of the server is not checked" in second
    assert "secret" not in first + second


def test_schema_is_quoted_in_the_sql() -> None:
    assert 'CREATE SCHEMA "my ""schema""";' in schema_sql('my "schema"')
    with pytest.raises(ConfigurationError):
        schema_sql("x" * 49)


def test_schema_with_any_name_is_usable(shared_postgres: PostgresServer) -> None:
    """Two schemas of a database have nothing in common."""
    base = shared_postgres.url
    with (
        open_store(f"{base}?schema=it%27s%20%22mine%22%25") as one,
        open_store(f"{base}?schema=other") as other,
    ):
        seen: list[object] = []
        one.watch("k", seen.append)
        entry = one.put("k", b"1")
        assert one.get("k") == entry
        assert other.get("k") is None


@pytest.mark.parametrize("names", ["ours", "libpq's"])
def test_tls_with_a_client_certificate(
    names: str, postgres_server: PostgresFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """By the names of every store, or by those of libpq; without the certificate it is refused."""
    caplog.set_level(logging.WARNING)
    server = postgres_server(tls="mutual")
    files = server.certificates
    assert files is not None
    Path(files.client_key).chmod(0o600)
    url = f"{server.url}&cert={files.client_cert}&key={files.client_key}"
    if names != "ours":
        url = (
            f"{server.url.partition('?')[0].replace('+tls', '')}?sslmode=verify-full&sslrootcert={files.ca}"
            f"&sslcert={files.client_cert}&sslkey={files.client_key}"
        )
    with open_store(url) as store:
        store.put("k", b"1")
        assert store.get("k") is not None
    assert caplog.records == []

    with open_store(server.url) as store, pytest.raises(StoreRefused, match="cert= and key="):
        store.get("k")


def test_untrusted_certificate_is_refused(postgres_server: PostgresFactory, tmp_path: Path) -> None:
    """The message names the option."""
    other = Certificates.make(tmp_path / "other")
    server = postgres_server(tls=True)
    url = f"{server.url.partition('?')[0]}?ca={other.ca}"
    with open_store(url) as store, pytest.raises(StoreRefused, match="set ca="):
        store.get("k")
