"""What the URL says about a Consul: its agents, its datacenter, its token, its TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

from leadership_core.errors import URLError
from leadership_core.url import StoreURL, seconds, text

from .credentials import TLS, Token

__all__ = ["Options"]

DEFAULT_PORT = 8500
MAX_LOCK_DELAY = 60.0  # seconds; Consul documents no more


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a Consul, and how to lock there.

    Attributes:
        agents: ``http(s)://host:port``, in the order in which they are tried.
        prefix: what the URL puts before every key.
        token: the ACL token, or where it comes from.
        tls: None for plain HTTP.
        dc: the datacenter, or None for the agent's own.
        lock_delay: seconds for which a key stays locked after its session was ended for it.
    """

    agents: tuple[str, ...]
    prefix: str
    token: Token
    tls: TLS | None
    dc: str | None
    lock_delay: float

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read them from a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        known = {"token": text, "token_file": text, "dc": text, "lock_delay": _lock_delay}
        found: dict[str, Any] = url.read_options(known, tls=True)
        scheme = "https" if url.tls else "http"
        hosts = url.with_default_port(DEFAULT_PORT).hosts
        return cls(
            agents=tuple(dict.fromkeys(f"{scheme}://{host}" for host in hosts)),
            prefix=url.prefix,
            token=_token(url, found),
            tls=_tls(found) if url.tls else None,
            dc=found.get("dc"),
            lock_delay=found.get("lock_delay", 0.0),
        )


def _lock_delay(value: str) -> float:
    delay = seconds(value)
    if delay > MAX_LOCK_DELAY:
        raise ValueError(
            f"{value!r} is more than the {MAX_LOCK_DELAY:g} seconds that Consul allows"
        )
    return delay


def _token(url: StoreURL, found: dict[str, Any]) -> Token:
    if url.username:
        raise URLError("consul:// has no users: the token goes in the password place, ':TOKEN@'")
    given = {
        "the password place": url.password,
        "token=": found.get("token"),
        "token_file=": found.get("token_file"),
    }
    places = [place for place, value in given.items() if value]
    if len(places) > 1:
        raise URLError(f"the token is given twice, in {' and in '.join(places)}")
    if path := given["token_file="]:
        return Token.from_file(path)
    # What the URL says wins over what the shell happens to have.
    return Token(
        given["the password place"] or given["token="] or os.environ.get("CONSUL_HTTP_TOKEN")
    )


def _tls(found: dict[str, Any]) -> TLS:
    if "key" in found and "cert" not in found:
        raise URLError("option 'key' is of use only with option 'cert'")
    return TLS(found.get("ca"), found.get("cert"), found.get("key"), found.get("verify", True))
