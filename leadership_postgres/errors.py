"""Mapping of the errors of PostgreSQL, PgBouncer and libpq to those of `leadership_core`.

See https://www.postgresql.org/docs/current/errcodes-appendix.html. An error with which a statement ends
has rolled its transaction back, so the write was certainly not applied. The end of a connection says
nothing about the statement that was under way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from leadership_core.backend import (
    ConfigurationError,
    LeadershipError,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    one_line,
)

__all__ = [
    "MISSING_OBJECT",
    "ServerError",
    "connect_error",
    "is_lasting",
    "statement_error",
    "with_code",
]

MISSING_OBJECT = frozenset({"3F000", "42P01", "42883", "42704"})
"""Schema, table, function or type do not exist: the SQL of the schema was not applied, or an older one."""

_LONGEST = 300  # characters of a server's message


@dataclass(frozen=True, slots=True)
class ServerError(Exception):
    """An error that the server has answered with.

    Attributes:
        code: the SQLSTATE.
        severity: ERROR, FATAL or PANIC.
        message: the server's text.
    """

    code: str
    severity: str
    message: str

    def __str__(self) -> str:
        return f"{one_line(self.message, _LONGEST)} ({self.code})"


_GRANTS = (
    "grant the user USAGE on the schema, SELECT, INSERT, UPDATE, DELETE on its tables and USAGE on its "
    "sequence, or let an administrator apply leadership_postgres.schema_sql()"
)

_REFUSED = {
    "28P01": "check USER:PASSWORD@ in the URL",
    "28000": "check the user and the database in the URL, and pg_hba.conf of the server",
    "3D000": "create the database, or name another one in the URL",
    "42501": _GRANTS,
    "22P05": "the encoding of the database must be UTF8",
    "22021": "the encoding of the database must be UTF8",
}

_NOT_APPLIED = {
    "25006": "the server takes no writes (is it a standby?): name the primary, or all hosts, in the URL",
    "53300": "raise max_connections of the server, or use PgBouncer with pgbouncer=true",
    "53100": "the disk of the server is full",
    "55P03": "another transaction holds the row; a transaction with fence_sql keeps it until its end",
    "57014": "the statement was cancelled, or took longer than statement_timeout",
    "40001": "another transaction was faster",
    "40P01": "another transaction was faster",
    "57P03": "the server is starting or stopping",
}


def statement_error(error: ServerError, doing: str) -> LeadershipError:
    """Return the error of a statement that the server has refused.

    Args:
        error: the server's answer.
        doing: the action that fails, for the message: ``cannot {doing}``.
    """
    text = f"cannot {doing}: {error}"
    if error.code == "LD002":
        return ConfigurationError(
            f"{text}; set default_transaction_isolation of the user to read committed: through a pooler, the "
            "store cannot set it for its connections"
        )
    if error.code in _REFUSED:
        return StoreRefused(f"{text}; {_REFUSED[error.code]}")
    if error.code in _NOT_APPLIED:
        return NotApplied(f"{text}; {_NOT_APPLIED[error.code]}")
    # The connection ends with these, or a pooler has lost the server: the commit may have been made.
    if error.severity != "ERROR" or error.code[:2] in {"08", "58", "57", "XX"}:
        return StoreUnavailable(text)
    if error.code[:2] in {"42", "22", "0A", "3F"}:
        return StoreRefused(text)
    return NotApplied(text)  # any other error has rolled the transaction back


@dataclass(frozen=True, slots=True)
class _Kind:
    pattern: re.Pattern[str]
    lasting: bool
    cure: str


def _kind(pattern: str, cure: str, *, lasting: bool = True) -> _Kind:
    return _Kind(re.compile(pattern, re.IGNORECASE), lasting, cure)


# The text of an error with which a server or a pooler refuses a connection, if it is in English; it says more than the code.
_KINDS = (
    _kind(
        r"password authentication failed|no password supplied|authentication failed|SASL",
        "check USER:PASSWORD@ in the URL",
    ),
    _kind(r"role .* does not exist|no pg_hba.conf entry|not permitted to log in|no such user",
          "check the user and the database in the URL, and pg_hba.conf of the server"),
    _kind(r"database .* does not exist|no such database",
          "create the database, or name another one in the URL"),
    _kind(r"permission denied for database", "grant the user CONNECT on the database"),
    _kind(
        r"unsupported startup parameter",
        "this is PgBouncer: add pgbouncer=true to the URL",
    ),
    _kind(
        r"session is read-only|session is not read-only|server is in hot standby",
        "it is a standby, or read-only: name the primary, or all hosts, in the URL",
        lasting=False,
    ),
    _kind(
        r"too many (clients|connections)|remaining connection slots|no more connections allowed",
        "raise max_connections of the server, or use PgBouncer with pgbouncer=true",
        lasting=False,
    ),
    _kind(r"starting up|shutting down|recovery mode|not yet accepting", "try again", lasting=False),
    _kind(r"server does not support SSL", "leave out +tls or sslmode, or turn on ssl at the server"),
    _kind(
        r"certificate verify failed|root certificate file",
        "set ca= (sslrootcert=) to the authority that signed its certificate",
    ),
    _kind(r"does not match host name", "use a host name in the URL that is in the certificate"),
    _kind(
        r"certificate required|tlsv13 alert|sslv3 alert|bad certificate|requires a valid client certificate",
        "it refuses our TLS certificate: set cert= and key= (sslcert=, sslkey=)",
    ),
    _kind(r"private key file|certificate file|SSL error", "check the TLS files of the URL"),
    _kind(r"or later is needed", "upgrade the server, or use another store"),
    _kind(
        r"expected authentication request|invalid response to SSL|unexpected response|unsupported frontend",
        "another service has this port: check host and port",
    ),
)  # fmt: skip


# In any language.
_BY_CODE = tuple(
    _kind(rf"\({code}\)\s*$", cure, lasting=code in _REFUSED)
    for code, cure in {**_REFUSED, **_NOT_APPLIED}.items()
)

# ``FATAL:  28P01: the message``, and on a line of its own ``LOCATION:  auth_failed, auth.c:321``
_VERBOSE_CODE = re.compile(r"(?:^|: )[^\s:]+: +([0-9A-Z]{5}: )")
_LOCATION = re.compile(r"^[^\s:]+: +\w+, [\w.]+:\d+$\n?", re.MULTILINE)


def with_code(text: str) -> str:
    r"""The verbose text of libpq as its usual one, with the SQLSTATE behind it if there is one.

    Example:
        >>> with_code("FATAL:  28P01: no such password\nLOCATION:  auth_failed, auth.c:321\n")
        'FATAL:  no such password (28P01)'
    """
    found = _VERBOSE_CODE.search(text)
    if found is None:
        return text
    said = text[: found.start(1)] + text[found.end(1) :]
    return f"{_LOCATION.sub('', said).rstrip()} ({found[1][:5]})"


def _known(text: str) -> _Kind | None:
    return next((one for one in (*_KINDS, *_BY_CODE) if one.pattern.search(text)), None)


def is_lasting(text: str) -> bool:
    """Whether a connection is refused until the configuration is changed, by libpq's text."""
    found = _known(text)
    return found is not None and found.lasting


def connect_error(text: str) -> str:
    """Say why a connection failed, and what to do.

    Args:
        text: libpq's text.
    """
    # The beginning names the address, which the caller does, too.
    said = re.sub(
        r'^connection to server at "[^"]*"(, port \d+)?( \([^)]*\), port \d+)? failed: ', "", text
    )
    found = _known(text)
    return one_line(said, _LONGEST) + (f"; {found.cure}" if found else "")
