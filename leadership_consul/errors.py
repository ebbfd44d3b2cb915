"""What py-consul, the network and Consul itself say, in the words of `leadership_core.errors`."""

from __future__ import annotations

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

from leadership_core.errors import (
    LeadershipError,
    NotDone,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.failures import ConnectFailure, shortened

__all__ = [
    "OLDEST",
    "NotConsul",
    "broken",
    "has_no_leader",
    "is_answer",
    "is_definite",
    "is_unknown_path",
    "session_is_gone",
    "strange",
    "translated",
    "unreached",
]

OLDEST = "Consul 1.8 or later is needed"  # older ones have not been tried

_UNKNOWN_PATH = {404, 405, 501}
"""What an HTTP server says to a request for something that it does not have."""
_INVALID_TTL = "invalid session ttl"


class NotConsul(StoreUnavailable):
    """What answers is another service, by what it says; it may also be a proxy that is in trouble."""


def is_unknown_path(status: int) -> bool:
    """Whether a server says with this status that it does not have what Consul has there."""
    return status in _UNKNOWN_PATH


def is_definite(error: StoreUnavailable) -> bool:
    """Whether the request surely did not take effect."""
    return isinstance(error, NotDone | StoreRefused)


def session_is_gone(text: str) -> bool:
    """Whether Consul refused a request because of its session."""
    return "invalid session" in text.lower() and not ttl_is_refused(text)


def ttl_is_refused(text: str) -> bool:
    """Whether Consul refused to open a session with this ttl."""
    return _INVALID_TTL in text.lower()


def has_no_leader(body: str) -> bool:
    """Whether an agent has refused a request because its servers have no leader."""
    return "no cluster leader" in body.lower()


def is_answer(body: str) -> bool:
    """Whether a 500 is Consul's answer to the request, rather than trouble of its own."""
    return session_is_gone(body) or ttl_is_refused(body)


@contextmanager
def translated(doing: str, *, session: bool = False) -> Iterator[None]:
    """Turn what a call of py-consul raises into ours; the original is the cause.

    Args:
        doing: what cannot be done then, for the message.
        session: whether it is done with a session, which may be gone.
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
            f"cannot {doing}: Consul knows no tokens ({shortened(error)}); leave the token out, or enable ACLs"
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
        if str(error).startswith("429"):  # too many requests: it has not looked at this one
            raise NotDone(f"cannot {doing}: {shortened(error)}") from error
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error
    except ConsulException as error:
        if session and session_is_gone(str(error)):
            raise SessionLost(f"cannot {doing}: {shortened(error)}") from error
        if "missing index header" in str(error).lower():
            raise StoreUnavailable(
                f"cannot {doing}: what answers there is not a Consul agent; check host and port"
            ) from error
        raise StoreUnavailable(f"cannot {doing}: {shortened(error)}") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # py-consul takes JSON apart as it comes.
        # Perhaps a proxy's page about an outage, so it is no reason to give up.
        raise StoreUnavailable(
            f"cannot {doing}: the answer is not Consul's ({shortened(repr(error))}); check host and port"
        ) from error
    except RecursionError as error:
        raise StoreUnavailable(f"cannot {doing}: the answer is nested too deep") from error


def broken(failure: ConnectFailure, given: float) -> StoreUnavailable:
    """Say that an agent took a request and gave no answer.

    Args:
        failure: how the connection ended.
        given: seconds that the request had.
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
        f"{failure.place} broke off before the answer: {shortened(failure.error)}"
    )


def strange(agent: str, status: int) -> StoreUnavailable:
    """Say that an answer has a status that Consul's answers do not have."""
    return NotConsul(
        f"{agent} answers with the status {status}, as no Consul agent does; check host and port"
    )


def unreached(failed: Sequence[ConnectFailure]) -> StoreUnavailable:
    """Say that no agent could be connected to."""
    said = "; ".join(f"{one.place}: {one.explained('an agent')}" for one in failed)
    if failed and all(one.is_lasting for one in failed):
        return StoreRefused(f"cannot connect to Consul: {said}")
    return NotDone(f"cannot connect to Consul: {said or 'no time left'}")
