"""What py-consul, the network and Consul itself say, in the words of `leadership_core.errors`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
from leadership_core.text import one_line

__all__ = [
    "broken",
    "is_answer",
    "is_definite",
    "session_is_gone",
    "strange",
    "translated",
    "unreached",
]

_INVALID_TTL = "invalid session ttl"


def is_definite(error: StoreUnavailable) -> bool:
    """Whether the request surely did not take effect."""
    return isinstance(error, NotDone | StoreRefused)


def session_is_gone(text: str) -> bool:
    """Whether Consul refused a request because of its session."""
    return "invalid session" in text.lower() and not ttl_is_refused(text)


def ttl_is_refused(text: str) -> bool:
    """Whether Consul refused to open a session with this ttl."""
    return _INVALID_TTL in text.lower()


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
            f"cannot {doing}: Consul denies permission ({_short(error)}); the token must exist and its "
            "policy must allow key:write, key:read and session:write"
        ) from error
    except ACLDisabled as error:
        raise StoreRefused(
            f"cannot {doing}: Consul knows no tokens ({_short(error)}); leave the token out, or enable ACLs"
        ) from error
    except NotFound as error:
        raise StoreUnavailable(f"cannot {doing}: not found ({_short(error)})") from error
    except BadRequest as error:
        raise StoreRefused(
            f"cannot {doing}: Consul refuses the request ({_short(error)})"
        ) from error
    except ClientError as error:
        if str(error).startswith("413"):
            raise StoreRefused(f"cannot {doing}: {_short(error)}") from error
        if str(error).startswith("429"):  # too many requests: it has not looked at this one
            raise NotDone(f"cannot {doing}: {_short(error)}") from error
        raise StoreUnavailable(f"cannot {doing}: {_short(error)}") from error
    except ConsulException as error:
        if session and session_is_gone(str(error)):
            raise SessionLost(f"cannot {doing}: {_short(error)}") from error
        if "missing index header" in str(error).lower():
            raise StoreUnavailable(
                f"cannot {doing}: what answers there is not a Consul agent; check host and port"
            ) from error
        raise StoreUnavailable(f"cannot {doing}: {_short(error)}") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # py-consul takes JSON apart as it comes.
        raise StoreUnavailable(
            f"cannot {doing}: the answer is not Consul's ({_short(repr(error))})"
        ) from error
    except RecursionError as error:
        raise StoreUnavailable(f"cannot {doing}: the answer is nested too deep") from error


def broken(agent: str, given: float, error: Exception) -> StoreUnavailable:
    """Say that an agent took a request and gave no answer."""
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        # TLS 1.3: the agent looks at our certificate only after we think that we are through.
        return StoreRefused(
            f"{agent} refuses our TLS certificate ({_short(error)}); set cert= and key="
        )
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{agent} gave no answer within {given:.2f} s")
    return StoreUnavailable(f"{agent} broke off before the answer: {_short(error)}")


def strange(agent: str, status: int) -> StoreUnavailable:
    """Say that an answer has a status that Consul's answers do not have."""
    return StoreUnavailable(
        f"{agent} answers with the status {status}, as no Consul agent does; check host and port"
    )


def unreached(failed: Sequence[tuple[str, Exception]]) -> StoreUnavailable:
    """Say that no agent could be connected to."""
    said = "; ".join(f"{agent}: {_explained(error)}" for agent, error in failed)
    if failed and all(_is_lasting(error) for _, error in failed):
        return StoreRefused(f"cannot connect to Consul: {said}")
    return NotDone(f"cannot connect to Consul: {said or 'no time left'}")


def _is_lasting(error: Exception) -> bool:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return False  # hung up on in the handshake: that is a reset, not a refusal
    return isinstance(error, ssl.SSLError) or _is_unknown_host(error)


def _is_unknown_host(error: Exception) -> bool:
    # EAI_AGAIN is a name server that does not answer, which time may mend.
    nobody = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    return isinstance(error, socket.gaierror) and error.errno in nobody


def _explained(error: Exception) -> str:
    if _is_unknown_host(error):
        return "unknown host; check the name in the URL"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted; set ca= to the right authority ({_short(error)})"
    if _is_lasting(error):
        return f"TLS failed; does the agent speak HTTPS on this port? ({_short(error)})"
    if isinstance(error, ConnectionRefusedError):
        return f"{_short(error)}; is an agent running there?"
    return _short(error)


def _short(error: object) -> str:
    return one_line(error, 200)
