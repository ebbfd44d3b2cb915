"""Mapping of kazoo's exceptions and network errors to those of `leadership_core.errors`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kazoo import exceptions as zk

from leadership_core.backend import (
    ConfigurationError,
    ConnectFailure,
    LeadershipError,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    cannot_connect,
    shortened,
)

__all__ = [
    "ANSWERS",
    "UNKNOWN_TIMEOUT",
    "authentication_failed",
    "connect_failed",
    "is_not_applied",
    "map_errors",
    "unexpected_response",
]

ANSWERS: tuple[type[Exception], ...] = (
    zk.NoNodeError,
    zk.NodeExistsError,
    zk.BadVersionError,
    zk.NotEmptyError,
)
"""Errors about the nodes of a request, which are returned as its answer."""

UNKNOWN_TIMEOUT = (
    "this release of kazoo does not read its sockets as expected, so the session timeout that "
    "ZooKeeper has granted is unknown, and no candidate can lead: install kazoo 2.11"
)
"""The error with a release of kazoo that `sockets.ConnectionMonitor` cannot observe."""

_REFUSALS = (
    zk.InvalidACLError,
    zk.QuotaExceededError,
    zk.BadArgumentsError,
    zk.MarshallingError,
)


def is_not_applied(error: StoreUnavailable) -> bool:
    """Whether the request certainly has no effect."""
    return isinstance(error, NotApplied | StoreRefused)


@contextmanager
def map_errors(doing: str) -> Iterator[None]:
    """Raise the library's errors in place of kazoo's, which become their causes.

    `ANSWERS`, and the end of the session, are left to the caller.

    Args:
        doing: the operation, for the message "cannot ...".
    """
    try:
        yield
    except (LeadershipError, zk.SessionExpiredError, *ANSWERS):
        raise
    except zk.NoChildrenForEphemeralsError as error:
        raise ConfigurationError(
            f"cannot {doing}: an entry above it is bound to a session, and ZooKeeper allows no "
            "children below an ephemeral node: choose another key"
        ) from error
    except zk.NoAuthError as error:
        raise StoreRefused(
            f"cannot {doing}: ZooKeeper denies permission; grant it to the user of the URL "
            "(user:password@) in the ACL of the node"
        ) from error
    except (zk.AuthFailedError, zk.SessionClosedRequireSaslError) as error:
        raise authentication_failed() from error
    except zk.UnimplementedError as error:
        # Not StoreRefused, which is retried after the next success: connecting always succeeds.
        raise ConfigurationError(
            f"cannot {doing}: the server does not support the request; use ZooKeeper 3.5 or later"
        ) from error
    except _REFUSALS as error:
        raise StoreRefused(
            f"cannot {doing}: ZooKeeper refuses the request ({shortened(error)})"
        ) from error
    except zk.ThrottledOpError as error:
        raise NotApplied(f"cannot {doing}: the server is overloaded") from error
    except zk.ZookeeperError as error:
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error


def unexpected_response(doing: str, error: Exception) -> StoreUnavailable:
    """The error for an answer that no ZooKeeper server gives."""
    why = f"{type(error).__name__}: {shortened(error)}"
    return StoreUnavailable(f"cannot {doing}: the answer makes no sense ({why}); check the port")


def authentication_failed() -> StoreRefused:
    """The error for a rejected login."""
    return StoreRefused(
        "ZooKeeper authentication failed: check user and password in the URL (user:password@), and "
        "whether the servers require SASL, which this library does not support"
    )


def connect_failed(failures: Sequence[ConnectFailure], limit: float) -> StoreUnavailable:
    """The error for a client that could not connect to any server.

    Args:
        failures: one for each server that was tried.
        limit: seconds in which no server answered.
    """
    return cannot_connect("ZooKeeper", "a server", failures, f"no answer within {limit:.2f} s")
