"""Mapping of the errors of redis-py, the network and Redis to those of `leadership_core`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redis import exceptions

from leadership_core.backend import (
    ConnectFailure,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    WrongServer,
    cannot_connect,
    is_refused_by_server,
    shortened,
)

__all__ = [
    "OLDEST",
    "Moved",
    "NotPrimary",
    "connect_failed",
    "connection_lost",
    "is_answer",
    "network_error",
    "refused",
    "unknown_answer",
]

OLDEST = "Redis 6.2 or later, or Valkey, is needed"

_CURES = (
    # A person has to change something.
    (r"NOAUTH\b|Authentication required", StoreRefused,
     "Redis requires a password: add USER:PASSWORD@ to the URL"),
    (r"WRONGPASS|invalid (username-)?password", StoreRefused,
     "Redis refuses the user or the password: check USER:PASSWORD@ in the URL"),
    (r"AUTH <password> called without any password|no password is set", StoreRefused,
     "Redis has no password for the user default: remove the password from the URL"),
    (r"NOPERM|user executing the script can't|can't run this command|no permissions", StoreRefused,
     "the user of the URL lacks a right: docs/operations.md lists the rights"),
    (r"DENIED\b|protected mode", StoreRefused,
     "Redis accepts no connection from this host in protected mode: set a password at the server"),
    (r"unknown command|EVAL\w* is disabled", StoreRefused,
     f"Redis does not have this command, or it was renamed; {OLDEST}"),
    (r"DB index is out of range|SELECT is not allowed", StoreRefused,
     "Redis does not have the database that the path of the URL begins with"),
    (r"WRONGTYPE", StoreRefused,
     "another program uses the keys of this store: choose another tag= in the URL"),
    (r"CROSSSLOT", StoreRefused, "the keys of this store are not in one slot"),
    # It passes, and nothing was done.
    (r"READONLY|can't write against a read only", NotApplied,
     "the server is a replica: name the primary in the URL, or all servers"),
    (r"NOREPLICAS|not enough good replicas", NotApplied,
     "the primary lacks the replicas of min-replicas-to-write"),
    (r"OOM\b|maxmemory", NotApplied, "Redis is out of memory: raise maxmemory"),
    (r"MISCONF", NotApplied, "Redis cannot write to its disk, and so accepts no writes"),
    (r"LOADING\b", NotApplied, "Redis is loading its data"),
    (r"BUSY\b", NotApplied, "Redis is busy with another program's script (SCRIPT KILL ends it)"),
    (r"MASTERDOWN", NotApplied, "the replica has lost its primary"),
    (r"CLUSTERDOWN", NotApplied, "the Redis cluster does not serve this slot"),
    (r"TRYAGAIN", NotApplied, "the Redis cluster is moving this slot"),
    (r"max number of clients", NotApplied, "Redis has as many clients as maxclients allows"),
)  # fmt: skip
_COMPILED = [(re.compile(pattern, re.IGNORECASE), kind, cure) for pattern, kind, cure in _CURES]
_NOT_PRIMARY = re.compile(r"READONLY|can't write against a read only|MASTERDOWN")
_MOVED = re.compile(r"(?:MOVED |ASK )?(\d+) (\S*):(\d+)")


class NotPrimary(Exception):  # it never leaves this package
    """The server is a replica, and has executed nothing."""


class Moved(Exception):  # it never leaves this package
    """The cluster has the keys on another node, and this one has executed nothing.

    Attributes:
        name: of that node; empty for the one that has answered.
        port: of that node.
        ask: only for this request, while the slot is being moved.
    """

    def __init__(self, name: str, port: int, *, ask: bool) -> None:
        super().__init__(f"the keys are at {name}:{port}")
        self.name: str = name
        self.port: int = port
        self.ask: bool = ask


def refused(where: str, error: Exception) -> StoreUnavailable:
    """The error of a request that Redis has answered with an error.

    Args:
        where: the server.
        error: of redis-py, with Redis's text.

    Raises:
        NotPrimary: the server is a replica.
        Moved: the cluster names another node.
    """
    said = f"{getattr(error, 'status_code', None) or ''} {error}".strip()
    if isinstance(error, exceptions.MovedError | exceptions.AskError):
        match = _MOVED.search(said)
        if match is not None:
            raise Moved(match[2], int(match[3]), ask=isinstance(error, exceptions.AskError))
    if _NOT_PRIMARY.search(said):
        raise NotPrimary(said)
    for pattern, kind, cure in _COMPILED:
        if pattern.search(said):
            return kind(f"{where}: {cure} ({shortened(said)})")
    # A script that fails in the middle has written what came before.
    return StoreUnavailable(f"{where} answers with an error: {shortened(said)}")


def is_answer(error: Exception) -> bool:
    """Whether it is an answer of Redis's; redis-py raises some of them as connection errors."""
    kinds = exceptions.ResponseError | exceptions.AuthenticationError | exceptions.BusyLoadingError
    return isinstance(error, kinds) or "max number of clients" in str(error)


def network_error(error: BaseException) -> Exception:
    """The error of the network or of TLS that redis-py has wrapped; without one, the same error."""
    if isinstance(error, exceptions.InvalidResponse | ValueError):
        return WrongServer(f"it does not speak the protocol of Redis ({shortened(error)})")
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, exceptions.TimeoutError):
        return TimeoutError("timed out")
    return ConnectionResetError(shortened(error))


def connection_lost(failure: ConnectFailure, given: float) -> StoreUnavailable:
    """The error of a request that was sent and has no answer.

    Args:
        failure: how the connection ended.
        given: seconds that the request was allowed to take.
    """
    if isinstance(failure.error, TimeoutError):
        return StoreUnavailable(f"{failure.place} gave no answer within {given:.2f} s")
    if isinstance(failure.error, WrongServer):
        return StoreUnavailable(f"{failure.place}: {failure.error}; check host and port")
    if is_refused_by_server(failure.error):
        return connect_failed([failure])
    return StoreUnavailable(
        f"{failure.place} closed the connection before the answer: {shortened(failure.error)}"
    )


def unknown_answer(where: str, answer: object) -> StoreUnavailable:
    """The error for an answer that the script does not give."""
    return StoreUnavailable(
        f"{where} gave an answer that this store's script does not give: {shortened(repr(answer))}"
    )


def connect_failed(failed: Sequence[ConnectFailure], otherwise: str = "") -> StoreUnavailable:
    """The error of a request for which no server could be connected to."""
    return cannot_connect("Redis", "a Redis server", failed, otherwise or "no time left")
