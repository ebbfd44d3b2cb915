"""The options of a Redis store: hosts, database, prefix, users, TLS, Sentinel and replication."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from leadership_core.backend import (
    ClientTLS,
    Host,
    Secret,
    StoreURL,
    URLError,
    as_text,
    read_password,
    warn_about_connection,
)

from .tls import Login, client_tls

__all__ = ["Options"]

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
DEFAULT_TAG = "leadership"
MOST_REPLICAS = 100

_DATABASE = re.compile(r"[0-9]{1,5}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach Redis, and where the data are.

    Attributes:
        hosts: the servers, or the Sentinels if there is a `service`, in the order in which they
            are tried.
        prefix: what the URL puts before every key.
        database: the number of the Redis database.
        tag: the hash tag of all keys in Redis.
        login: user and password of the servers.
        tls: None for plain TCP.
        service: the name of the primary that Sentinel knows, or None without Sentinel.
        sentinel_login: user and password of the Sentinels.
        wait: the number of replicas that have to confirm each answer; 0 for none.
    """

    hosts: tuple[Host, ...]
    prefix: str
    database: int
    tag: str
    login: Login
    tls: ClientTLS | None
    service: str | None
    sentinel_login: Login
    wait: int

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read the options of a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        by_sentinel = url.scheme == "redis+sentinel"
        known = {"password_file": as_text, "tag": _tag, "wait": _replicas}
        if by_sentinel:
            known |= {"service": as_text, "sentinel_user": as_text, "sentinel_password": as_text}
        found: dict[str, Any] = url.read_options(known, tls=True)
        if by_sentinel and "service" not in found:
            raise URLError(
                "redis+sentinel:// needs service=, the name of the primary in the configuration of "
                "the Sentinels ('sentinel monitor NAME ...')"
            )
        password = read_password(url, found.get("password_file"))
        if url.username and password is None:
            raise URLError("the URL names a user without a password: write USER:PASSWORD@")
        tls = client_tls(found) if url.tls else None
        warn_about_connection(url, verify=found.get("verify", True), secret=password)
        port = DEFAULT_SENTINEL_PORT if by_sentinel else DEFAULT_PORT
        database, prefix = _split(url.prefix)
        sentinel_password = found.get("sentinel_password")
        return cls(
            hosts=tuple(dict.fromkeys(url.with_default_port(port).hosts)),
            prefix=prefix,
            database=database,
            tag=found.get("tag", DEFAULT_TAG),
            login=Login(url.username, password),
            tls=tls,
            service=found.get("service"),
            sentinel_login=Login(
                found.get("sentinel_user"), Secret(sentinel_password) if sentinel_password else None
            ),
            wait=found.get("wait", 0),
        )


def _split(path: str) -> tuple[int, str]:
    """The database and the prefix of a URL's path: ``2/a/b`` is the prefix ``a/b`` in database 2."""
    first, _, rest = path.partition("/")
    if _DATABASE.fullmatch(first):
        return int(first), rest
    return 0, path


def _tag(value: str) -> str:
    if not _TAG.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not 1 to 64 of the characters A-Z a-z 0-9 _ . : -")
    return value


def _replicas(value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 6 else -1
    if not 0 <= number <= MOST_REPLICAS:
        raise ValueError(f"{value!r:.80} is not a number of replicas from 0 to {MOST_REPLICAS}")
    return number
