"""The options of a PostgreSQL store: hosts, database, user, schema, prefix, TLS and pooler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from leadership_core.backend import (
    Host,
    InvalidKey,
    Secret,
    StoreURL,
    URLError,
    as_seconds,
    as_text,
    flag,
    read_password,
)

from .schema import DEFAULT_SCHEMA, quoted
from .tls import LIBPQ_OPTIONS, tls_parameters, warn

__all__ = ["Options"]

DEFAULT_PORT = 5432

_MOST_CONNECTIONS, _LEAST_CONNECTIONS = 32, 2
_LEAST_POLL, _LONGEST_POLL = 0.05, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach PostgreSQL, and where its tables are.

    Attributes:
        hosts: each with its port, in the order in which they are tried for the one that takes writes.
        database: its name; "" for that of the user's name.
        user: its name, or "" for the one that libpq finds (`PGUSER`, or the user of the process).
        password: or None for the one that libpq finds (`PGPASSWORD`, `~/.pgpass`).
        schema: the name of the schema.
        prefix: what the URL puts before every key.
        tls: the parameters of libpq for TLS.
        pgbouncer: whether a pooler in transaction mode is between, which has no LISTEN.
        poll: seconds between two reads of what is watched, where there is no LISTEN.
        connections: the most that a store opens for its requests.
    """

    hosts: tuple[Host, ...]
    database: str
    user: str
    password: Secret | None
    schema: str
    prefix: str
    tls: dict[str, str]
    pgbouncer: bool
    poll: float
    connections: int

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read the options of a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        known = {
            "schema": _schema,
            "prefix": as_text,
            "password_file": as_text,
            "pgbouncer": flag,
            "poll": _poll,
            "connections": _connections,
            **dict.fromkeys(LIBPQ_OPTIONS, as_text),
        }
        found: dict[str, Any] = url.read_options(known, tls=True)
        if "/" in url.path or not url.path:
            raise URLError(
                f"the path of {url.scheme}:// is the name of the database: "
                f"{url.scheme}://USER:PASSWORD@HOST/DATABASE; a prefix of all keys is the option prefix="
            )
        password = read_password(url, found.get("password_file"))
        if password is not None and not url.username:
            raise URLError(f"a password needs a user: {url.scheme}://USER:PASSWORD@HOST/DATABASE")
        for name, text in (("user", url.username or ""), ("database", url.path)):
            if "\0" in text:
                raise URLError(f"the {name} of the URL has a NUL character")
        tls = tls_parameters(url, found)
        warn(url, tls, password)
        return cls(
            hosts=tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts)),
            database=url.path,
            user=url.username or "",
            password=password,
            schema=found.get("schema", DEFAULT_SCHEMA),
            prefix=_prefix(url, found.get("prefix", "")),
            tls=tls,
            pgbouncer=found.get("pgbouncer", False),
            poll=found.get("poll", 0.5),
            connections=found.get("connections", 4),
        )


def _prefix(url: StoreURL, text: str) -> str:
    if not text:
        return ""
    try:
        return StoreURL(url.scheme, path=text).prefix
    except (InvalidKey, URLError) as error:
        raise URLError(f"option 'prefix' of {url.scheme}://: {error}") from None


def _schema(value: str) -> str:
    quoted(value)
    return value


def _poll(value: str) -> float:
    seconds = as_seconds(value)
    if not _LEAST_POLL <= seconds <= _LONGEST_POLL:
        raise ValueError(f"{value!r:.20} is not from {_LEAST_POLL:g} to {_LONGEST_POLL:g} seconds")
    return seconds


def _connections(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 3:
        raise ValueError(f"{value!r:.20} is not a number of connections")
    if not _LEAST_CONNECTIONS <= int(value) <= _MOST_CONNECTIONS:
        raise ValueError(f"{value} is not from {_LEAST_CONNECTIONS} to {_MOST_CONNECTIONS}")
    return int(value)
