"""What the URL says about a Consul: its agents, its datacenter, its token, its TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

from leadership_core.errors import URLError
from leadership_core.precautions import warn_about_connection
from leadership_core.tls import ClientTLS
from leadership_core.url import Host, StoreURL, seconds, text

from .credentials import Token
from .wire import adapt

__all__ = ["Options"]

DEFAULT_PORT = 8500
MAX_LOCK_DELAY = 60.0  # seconds; Consul documents no more


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a Consul, and how to lock there.

    Attributes:
        hosts: of the agents, each with its port, in the order in which they are tried.
        prefix: what the URL puts before every key.
        token: the ACL token, or where it comes from.
        tls: None for plain HTTP.
        dc: the datacenter, or None for the agent's own.
        lock_delay: seconds for which a key stays locked after its session was ended for it.
    """

    hosts: tuple[Host, ...]
    prefix: str
    token: Token
    tls: ClientTLS | None
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
        token = _token(url, found)
        tls = ClientTLS.of_options(found, adapt) if url.tls else None
        warn_about_connection(
            url, verify=found.get("verify", True), secret=token.secret, kind="token"
        )
        return cls(
            hosts=tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts)),
            prefix=url.prefix,
            token=token,
            tls=tls,
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
    return Token.from_text(
        given["the password place"] or given["token="] or os.environ.get("CONSUL_HTTP_TOKEN")
    )
