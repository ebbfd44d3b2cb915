"""Mapping of the errors of py-consul, the network and Consul to those of `leadership_core`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import BadStatusLine, RemoteDisconnected

from consul.exceptions import (
    ACLDisabled,
    ACLPermissionDenied,
    BadRequest,
    ClientError,
    ConsulException,
    NotFound,
)

from leadership_core.backend import (
    ConfigurationError,
    ConnectFailure,
    LeadershipError,
    NotApplied,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
    cannot_connect,
    one_line,
    shortened,
)

__all__ = [
    "OLDEST",
    "NotConsul",
    "connect_failed",
    "connection_lost",
    "has_no_leader",
    "is_consul_answer",
    "is_not_applied",
    "is_unknown_path",
    "map_errors",
    "session_is_gone",
    "ttl_is_refused",
    "ttl_refusal",
    "unexpected_response",
]

OLDEST = "Consul 1.8 or later is needed"  # older releases are untested

_UNKNOWN_PATH = {404, 405, 501}
"""Statuses with which an HTTP server answers a request for a path that it does not serve."""
_INVALID_TTL = "invalid session ttl"


class NotConsul(StoreUnavailable):
    """The answer is not Consul's: that of another service, or of a faulty proxy."""


def is_unknown_path(status: int) -> bool:
    """Whether the status means that the server does not serve the path, as Consul would."""
    return status in _UNKNOWN_PATH


def is_not_applied(error: StoreUnavailable) -> bool:
    """Whether the request certainly did not take effect."""
    return isinstance(error, NotApplied | StoreRefused)


def session_is_gone(text: str) -> bool:
    """Whether Consul refused a request because its session does not exist."""
    return "invalid session" in text.lower() and not ttl_is_refused(text)


def ttl_is_refused(text: str) -> bool:
    """Whether Consul refused to open a session with this ttl."""
    return _INVALID_TTL in text.lower()


def has_no_leader(body: str) -> bool:
    """Whether an agent refused a request because the Consul servers have no leader."""
    return "no cluster leader" in body.lower()


def is_consul_answer(body: str) -> bool:
    """Whether a status of 500 is the answer to the request, rather than a failure of the agent."""
    return session_is_gone(body) or ttl_is_refused(body)


def ttl_refusal(ttl: str, said: str) -> ConfigurationError:
    """The error of a session whose ttl Consul refuses.

    Args:
        ttl: as it was requested.
        said: Consul's text, with the limits.
    """
    bounds = re.search(r"\[([\w.]{1,20})=([\w.]{1,20})\]", said, re.ASCII)
    allowed = (
        f"from {bounds[1]} to {bounds[2]}" if bounds else f"other values ({one_line(said, 200)})"
    )
    return ConfigurationError(
        f"Consul refuses a ttl of {ttl}: this server allows {allowed}; ask for a ttl within that, "
        "or lower session_ttl_min in the configuration of the Consul servers"
    )


@contextmanager
def map_errors(doing: str, *, session: bool = False) -> Iterator[None]:
    """Raise the errors of a py-consul call as those of `leadership_core`, with it as the cause.

    Args:
        doing: the action that fails, for the message: ``cannot {doing}``.
        session: whether the request names a session, which may have ended.

    Raises:
        SessionLost: the session does not exist any more.
        StoreRefused: Consul refused the request.
        NotApplied: Consul did not process the request.
        StoreUnavailable: no answer, or none of Consul's; the request may have been processed.
    """
    try:
        yield
    except LeadershipError:
        raise
    except ACLPermissionDenied as error:
        raise StoreRefused(
            f"cannot {doing}: Consul denies permission ({shortened(error)}); the token must exist and its "
            "policy must allow key:write, key:read and session:write"
        ) from error
    except ACLDisabled as error:
        raise StoreRefused(
            f"cannot {doing}: ACLs are disabled in Consul ({shortened(error)}); remove the token from the URL, or enable ACLs"
        ) from error
    except NotFound as error:
        raise StoreUnavailable(f"cannot {doing}: not found ({shortened(error)})") from error
    except BadRequest as error:
        raise StoreRefused(
            f"cannot {doing}: Consul refuses the request ({shortened(error)})"
        ) from error
    except ClientError as error:
        if str(error).startswith("413"):
            raise StoreRefused(f"cannot {doing}: {shortened(error)}") from error
        if str(error).startswith("429"):  # too many requests: this one was not processed
            raise NotApplied(f"cannot {doing}: {shortened(error)}") from error
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error
    except ConsulException as error:
        if session and session_is_gone(str(error)):
            raise SessionLost(f"cannot {doing}: {shortened(error)}") from error
        if "missing index header" in str(error).lower():
            raise StoreUnavailable(
                f"cannot {doing}: the server that answers is not a Consul agent; check host and port"
            ) from error
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # py-consul reads JSON without checking it. The answer may be a proxy's page about an
        # outage, so this is not a lasting error.
        raise StoreUnavailable(
            f"cannot {doing}: the answer is not Consul's ({shortened(repr(error))}); check host and port"
        ) from error
    except RecursionError as error:
        raise StoreUnavailable(
            f"cannot {doing}: the JSON of the answer is nested too deeply"
        ) from error


def connection_lost(failure: ConnectFailure, given: float) -> StoreUnavailable:
    """The error of a request that was sent and has no answer.

    Args:
        failure: how the connection ended.
        given: seconds that the request was allowed to take.
    """
    if isinstance(failure.error, TimeoutError):
        return StoreUnavailable(f"{failure.place} gave no answer within {given:.2f} s")
    if isinstance(failure.error, BadStatusLine) and not isinstance(
        failure.error, RemoteDisconnected
    ):
        return NotConsul(
            f"{failure.place} does not speak HTTP ({shortened(failure.error)}); check host and port"
        )
    return StoreUnavailable(
        f"{failure.place} closed the connection before the answer: {shortened(failure.error)}"
    )


def unexpected_response(agent: str, status: int) -> StoreUnavailable:
    """The error for an answer with a status that Consul does not use."""
    return NotConsul(
        f"{agent} answers with the status {status}, as no Consul agent does; check host and port"
    )


def connect_failed(failed: Sequence[ConnectFailure]) -> StoreUnavailable:
    """The error of a request for which no agent could be connected to."""
    return cannot_connect("Consul", "an agent", failed)
