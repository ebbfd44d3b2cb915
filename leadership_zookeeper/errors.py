"""What kazoo, the network and ZooKeeper say, in the words of `leadership_core.errors`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kazoo import exceptions as zk

from leadership_core.errors import (
    ConfigurationError,
    LeadershipError,
    NotDone,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.failures import ConnectFailure, shortened

__all__ = [
    "ANSWERS",
    "UNREAD",
    "is_definite",
    "no_sense",
    "refused_login",
    "translated",
    "unreached",
]

ANSWERS = (zk.NoNodeError, zk.NodeExistsError, zk.BadVersionError, zk.NotEmptyError)
"""What ZooKeeper says about the nodes of a request: an answer like any other."""

UNREAD = (
    "kazoo does not read its sockets as it should, so the timeout that ZooKeeper has granted is "
    "not known, and nobody can lead: install kazoo 2.11"
)
"""Why nobody leads with another kazoo than we know."""

_REFUSALS = (
    zk.InvalidACLError,
    zk.QuotaExceededError,
    zk.BadArgumentsError,
    zk.MarshallingError,
)


def is_definite(error: StoreUnavailable) -> bool:
    """Whether the request surely did not take effect."""
    return isinstance(error, NotDone | StoreRefused)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what an answer of kazoo raises into ours; the original is the cause.

    What `ANSWERS` lists, and the end of a session, is left to the caller.

    Args:
        doing: what cannot be done then, for the message.
    """
    try:
        yield
    except (LeadershipError, zk.SessionExpiredError, *ANSWERS):
        raise
    except zk.NoChildrenForEphemeralsError as error:
        raise ConfigurationError(
            f"cannot {doing}: an entry above it is bound to a session, and ZooKeeper keeps nothing "
            "below such a one: choose another key"
        ) from error
    except zk.NoAuthError as error:
        raise StoreRefused(
            f"cannot {doing}: ZooKeeper denies permission; the ACL there must allow it to the user "
            "of the URL (user:password@)"
        ) from error
    except (zk.AuthFailedError, zk.SessionClosedRequireSaslError) as error:
        raise refused_login() from error
    except zk.UnimplementedError as error:
        # Not a refusal that is tried again once something has worked: connecting always works.
        raise ConfigurationError(
            f"cannot {doing}: the server does not know the request; ZooKeeper 3.5 or later is needed"
        ) from error
    except _REFUSALS as error:
        raise StoreRefused(
            f"cannot {doing}: ZooKeeper refuses the request ({shortened(error)})"
        ) from error
    except zk.ThrottledOpError as error:
        raise NotDone(f"cannot {doing}: the server is overloaded") from error
    except zk.ZookeeperError as error:
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error


def no_sense(doing: str, error: Exception) -> StoreUnavailable:
    """Say that an answer is none that a ZooKeeper would give."""
    why = f"{type(error).__name__}: {shortened(error)}"
    return StoreUnavailable(f"cannot {doing}: the answer makes no sense ({why}); check the port")


def refused_login() -> StoreRefused:
    """Say that the servers do not want us."""
    return StoreRefused(
        "ZooKeeper refuses to let us in; check user and password in the URL (user:password@), and "
        "whether its servers ask for SASL, which this library has not"
    )


def unreached(failed: Sequence[ConnectFailure], given: float) -> StoreUnavailable:
    """Say that no server could be connected to.

    Args:
        failed: the servers that were tried, and why each one failed.
        given: seconds.
    """
    said = "; ".join(f"{one.place}: {one.explained('a server')}" for one in failed)
    if failed and all(one.is_lasting for one in failed):
        return StoreRefused(f"cannot connect to ZooKeeper: {said}")
    return NotDone(f"cannot connect to ZooKeeper: {said or f'no answer within {given:.2f} s'}")
