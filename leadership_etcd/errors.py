"""What gRPC and etcd say, in the words of `leadership_core.errors`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from leadership_core.errors import (
    ConfigurationError,
    LeadershipError,
    NotDone,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.text import one_line
from leadership_core.tracebacks import bare

from .proto import grpc

__all__ = [
    "Compacted",
    "Full",
    "MaskedError",
    "Senseless",
    "Unreached",
    "Verdict",
    "harmless",
    "is_definite",
    "is_too_long",
    "said",
    "translated",
    "unreached",
    "verdict",
]

_Code = grpc.StatusCode

_NOT_SENT = re.compile(
    r"failed to connect|errors? resolving|resolution failed|empty address list", re.IGNORECASE
)
_LEARNER = re.compile(r"not supported for learner")
_STALE = re.compile(
    r"invalid auth token|revision of auth store is old|revision in header is old", re.IGNORECASE
)
# Of our own gRPC; etcd's words for a request that is too long begin with "grpc: received".
_TOO_LONG = re.compile(r"(?<!grpc: )(Received|Decompressed) message larger than max")
_NOT_ETCD = "what answers there is not an etcd of version 3.4 or later; check host and port"


class Verdict(Enum):
    """What a failed call says about the request."""

    REFUSED = "refused"
    """etcd has decided not to do it; another endpoint would say the same."""
    STALE = "stale"
    """etcd has not looked at it, because the token is good no more."""
    NOT_SENT = "not sent"
    """It never left, or came to a member that serves no requests yet: another one may do it."""
    UNKNOWN = "unknown"
    """It may have been done, or still be on its way."""


class Unreached(Exception):  # it never leaves this package
    """An endpoint cannot be connected to, or is of no use; nothing was sent there.

    Attributes:
        lasting: it is not waiting that mends it, but a person.
        where: the host, if it has no address.
    """

    def __init__(self, what: str, *, lasting: bool = False, where: str | None = None) -> None:
        super().__init__(what)
        self.lasting = lasting
        self.where = where


class Compacted(StoreUnavailable):
    """The history that was asked for is gone; ask again from now on."""


class Senseless(StoreUnavailable):
    """What came is no answer to the request, so it says nothing about it."""


class Full(StoreRefused):
    """etcd has no space left; the very write that finds this out is done, and refused then."""


def verdict(error: grpc.RpcError) -> Verdict:
    """Say what a failed call means for its request."""
    code, details = error.code(), said(error)
    if _TOO_LONG.search(details):
        return Verdict.UNKNOWN
    if _STALE.search(details):
        return Verdict.STALE
    if _LEARNER.search(details):  # UNAVAILABLE until etcd 3.6, FAILED_PRECONDITION from 3.7 on
        return Verdict.NOT_SENT
    if code is _Code.UNAVAILABLE and _NOT_SENT.match(details):
        return Verdict.NOT_SENT
    if code in {_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.CANCELLED, _Code.INTERNAL}:
        return Verdict.UNKNOWN
    if code is _Code.UNKNOWN and not details.startswith(("etcdserver", "auth")):
        return Verdict.UNKNOWN
    return Verdict.REFUSED


class MaskedError(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """An error of gRPC whose text repeated a secret, without that."""

    def __init__(self, code: Any, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code, self._details = code, details

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details


def harmless(error: grpc.RpcError, masked: Callable[[str], str]) -> grpc.RpcError:
    """The error without its traceback and without secrets; both may be shown to people.

    Args:
        error: of gRPC; the frames in its traceback have what was sent in their variables.
        masked: takes the secrets from a text.
    """
    details = str(error.details() or "")
    text = f"{error!r} {error} {details}"
    if masked(text) != text:
        return MaskedError(error.code(), masked(details))
    return bare(error)


def is_definite(error: StoreUnavailable) -> bool:
    """Whether the request surely did not take effect."""
    return isinstance(error, NotDone | StoreRefused | Compacted) and not isinstance(error, Full)


def is_too_long(error: grpc.RpcError) -> bool:
    """Whether the answer was longer than the connection allows, and was not taken in."""
    return bool(_TOO_LONG.search(said(error)))


def said(error: grpc.RpcError) -> str:
    """The words of an error, on one line."""
    return one_line(error.details() or error.code().name, 300)


def translated(error: grpc.RpcError, endpoint: str, waited: float) -> LeadershipError:
    """Say in our words why a request that was sent has failed.

    Args:
        error: the original, which becomes the cause.
        endpoint: to which it was sent.
        waited: seconds, for the answer.
    """
    code, details = error.code(), said(error)
    if is_too_long(error):
        return Senseless(
            f"{endpoint}: the answer is longer than what was asked for can be ({details})"
        )
    if code is _Code.DEADLINE_EXCEEDED:
        return StoreUnavailable(f"{endpoint} gave no answer within {waited:.2f} s")
    if "requested lease not found" in details:
        return SessionLost("etcd has ended the lease")
    if "required revision has been compacted" in details:
        return Compacted(details)
    if "too large lease TTL" in details:
        return ConfigurationError(
            "etcd refuses a ttl as long as that: it allows up to 9000000000 s; ask for less"
        )
    if "request is too large" in details or "received message larger than max" in details:
        return ConfigurationError(
            f"the value is too large for etcd ({details}); it takes 1.5 MiB in one request, "
            "unless its --max-request-bytes says otherwise"
        )
    if code is _Code.PERMISSION_DENIED:
        return StoreRefused(
            f"etcd denies permission ({details}); grant the user's role readwrite on the prefix"
        )
    if "user name is empty" in details:
        return StoreRefused("etcd wants to know who we are: put USER:PASSWORD@ into the URL")
    if "authentication failed" in details:
        return StoreRefused("etcd does not accept the user and password in the URL")
    if "database space exceeded" in details:
        return Full(f"etcd is full ({details}): compact and defragment it, and disarm its alarm")
    if code is _Code.UNIMPLEMENTED:
        return StoreRefused(f"{endpoint}: {_NOT_ETCD} ({details})")
    if "too many requests" in details:  # it says so before it looks at them
        return NotDone(f"etcd has too much to do: {details}")
    return StoreUnavailable(f"{endpoint}: {details}")


def unreached(failed: Sequence[tuple[str, Unreached]]) -> StoreUnavailable:
    """Say that no endpoint could be connected to."""
    words = "; ".join(f"{endpoint}: {error}" for endpoint, error in failed)
    if failed and all(error.lasting for _, error in failed):
        return StoreRefused(f"cannot use etcd: {words}")
    return NotDone(f"cannot connect to etcd: {words or 'no time left'}")
