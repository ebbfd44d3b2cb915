"""Mapping of errors of gRPC and etcd to the library's errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from leadership_core.backend import (
    ConfigurationError,
    LeadershipError,
    NotApplied,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
    bare,
    one_line,
)

from .compat import grpc

__all__ = [
    "Compacted",
    "ConnectFailed",
    "FailureKind",
    "InvalidResponse",
    "MaskedError",
    "QuotaExceeded",
    "connect_error",
    "error_text",
    "failure_kind",
    "is_not_applied",
    "is_response_too_large",
    "map_error",
    "masked_error",
]

_Code = grpc.StatusCode

_NOT_SENT = re.compile(
    r"failed to connect|errors? resolving|resolution failed|empty address list", re.IGNORECASE
)
_LEARNER = re.compile(r"not supported for learner")
_UNAUTHENTICATED = re.compile(
    r"invalid auth token|revision of auth store is old|revision in header is old", re.IGNORECASE
)
# Raised by our own gRPC; etcd's error for a request that is too long begins with "grpc: received".
_TOO_LARGE = re.compile(r"(?<!grpc: )(Received|Decompressed) message larger than max")


class FailureKind(Enum):
    """What a failed call says about its request."""

    REJECTED = "rejected"
    """etcd has decided not to execute it; another endpoint would decide the same."""
    UNAUTHENTICATED = "unauthenticated"
    """etcd has not looked at it, because the token has expired or was revoked."""
    NOT_SENT = "not sent"
    """It never left, or reached a member that serves no requests yet: another one may execute it."""
    UNKNOWN = "unknown"
    """It may have been executed, or still be under way."""


class ConnectFailed(Exception):  # it never leaves this package
    """An endpoint cannot be connected to, or is of no use; no request was sent there.

    Attributes:
        lasting: waiting does not cure it; a person has to.
        where: the host, if its name could not be resolved.
    """

    def __init__(self, what: str, *, lasting: bool = False, where: str | None = None) -> None:
        super().__init__(what)
        self.lasting = lasting
        self.where = where


class Compacted(StoreUnavailable):
    """The requested revision was compacted away; a read of the present state succeeds.

    See https://etcd.io/docs/v3.5/op-guide/maintenance/#history-compaction-v3-api-key-value-database
    """


class InvalidResponse(StoreUnavailable):
    """What came back is no answer to the request, so it says nothing about the request."""


class QuotaExceeded(StoreRefused):
    """etcd's database is full; the write that exceeds the quota is executed and then refused.

    See https://etcd.io/docs/v3.5/op-guide/maintenance/#space-quota
    """


def failure_kind(error: grpc.RpcError) -> FailureKind:
    """Say what a failed call means for its request."""
    code, details = error.code(), error_text(error)
    if _TOO_LARGE.search(details):
        return FailureKind.UNKNOWN
    if _UNAUTHENTICATED.search(details):
        return FailureKind.UNAUTHENTICATED
    if _LEARNER.search(details):  # UNAVAILABLE until etcd 3.6, FAILED_PRECONDITION from 3.7 on
        return FailureKind.NOT_SENT
    if code is _Code.UNAVAILABLE and _NOT_SENT.match(details):
        return FailureKind.NOT_SENT
    if code in {_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.CANCELLED, _Code.INTERNAL}:
        return FailureKind.UNKNOWN
    if code is _Code.UNKNOWN and not details.startswith(("etcdserver", "auth")):
        return FailureKind.UNKNOWN
    return FailureKind.REJECTED


class MaskedError(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """An error of gRPC whose text repeated a secret, without that secret."""

    def __init__(self, code: Any, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code, self._details = code, details

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details


def masked_error(error: grpc.RpcError, masked: Callable[[str], str]) -> grpc.RpcError:
    """The error without its traceback and without secrets, fit to be shown and logged.

    Args:
        error: of gRPC; the frames in its traceback have what was sent in their variables.
        masked: removes the secrets from a text.
    """
    details = str(error.details() or "")
    text = f"{error!r} {error} {details}"
    if masked(text) != text:
        return MaskedError(error.code(), masked(details))
    return bare(error)


def is_not_applied(error: StoreUnavailable) -> bool:
    """Whether the request certainly took no effect."""
    if isinstance(error, QuotaExceeded):
        return False
    return isinstance(error, NotApplied | StoreRefused | Compacted)


def is_response_too_large(error: grpc.RpcError) -> bool:
    """Whether the answer was longer than the connection allows, and was not read."""
    return bool(_TOO_LARGE.search(error_text(error)))


def error_text(error: grpc.RpcError) -> str:
    """The text of an error, on one line."""
    return one_line(error.details() or error.code().name, 300)


def map_error(error: grpc.RpcError, endpoint: str, waited: float) -> LeadershipError:
    """Make the library's error of one of gRPC's, for a request that was sent.

    Args:
        error: the original, which the caller makes the cause.
        endpoint: to which it was sent.
        waited: seconds, for the answer.
    """
    code, details = error.code(), error_text(error)
    if is_response_too_large(error):
        return InvalidResponse(
            f"{endpoint}: the answer is longer than the answer to this request can be ({details})"
        )
    if code is _Code.DEADLINE_EXCEEDED:
        return StoreUnavailable(f"{endpoint} gave no answer within {waited:.2f} s")
    if "requested lease not found" in details:
        return SessionLost("etcd has ended the lease")
    if "required revision has been compacted" in details:
        return Compacted(details)
    if "too large lease TTL" in details:
        return ConfigurationError(
            "the ttl is too long for etcd, which allows up to 9000000000 s; use a shorter ttl"
        )
    if "request is too large" in details or "received message larger than max" in details:
        return ConfigurationError(
            f"the value is too large for etcd ({details}); the limit is 1.5 MiB per request, "
            "or what --max-request-bytes of the server says"
        )
    if code is _Code.PERMISSION_DENIED:
        return StoreRefused(
            f"etcd denies permission ({details}); grant the user's role readwrite on the prefix"
        )
    if "user name is empty" in details:
        return StoreRefused("etcd requires authentication: add USER:PASSWORD@ to the URL")
    if "authentication failed" in details:
        return StoreRefused("etcd does not accept the user and password in the URL")
    if "database space exceeded" in details:
        return QuotaExceeded(
            f"etcd's database is full ({details}): compact and defragment it, and disarm its alarm"
        )
    if code is _Code.UNIMPLEMENTED:
        return StoreRefused(
            f"{endpoint}: the server there is not an etcd of version 3.4 or later; "
            f"check host and port ({details})"
        )
    if "too many requests" in details:  # etcd answers this before it processes the request
        return NotApplied(f"etcd is overloaded: {details}")
    return StoreUnavailable(f"{endpoint}: {details}")


def connect_error(failed: Sequence[tuple[str, ConnectFailed]]) -> StoreUnavailable:
    """The error for a request for which no endpoint could be connected to.

    Args:
        failed: each endpoint with its failure.
    """
    words = "; ".join(f"{endpoint}: {error}" for endpoint, error in failed)
    if failed and all(error.lasting for _, error in failed):
        return StoreRefused(f"cannot use etcd: {words}")
    return NotApplied(f"cannot connect to etcd: {words or 'no time left'}")
