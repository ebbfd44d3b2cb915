"""The options of a Consul store: agents, prefix, datacenter, token, TLS and lock delay."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from leadership_core.backend import (
    ClientTLS,
    Host,
    StoreURL,
    as_seconds,
    as_text,
    warn_about_connection,
)

from .tls import Token, client_tls

__all__ = ["Options", "format_go_duration", "parse_go_duration"]

DEFAULT_PORT = 8500
MAX_LOCK_DELAY = 60.0  # seconds; the maximum that Consul documents

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach Consul, and how to lock there.

    Attributes:
        hosts: the agents, each with its port, in the order in which they are tried.
        prefix: what the URL puts before every key.
        token: the ACL token.
        tls: None for plain HTTP.
        dc: the datacenter, or None for the agent's own.
        lock_delay: seconds for which a key cannot be locked again after its session was
            invalidated; see https://developer.hashicorp.com/consul/docs/automate/session.
    """

    hosts: tuple[Host, ...]
    prefix: str
    token: Token
    tls: ClientTLS | None
    dc: str | None
    lock_delay: float

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read the options of a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        known = {"token": as_text, "token_file": as_text, "dc": as_text, "lock_delay": _lock_delay}
        found: dict[str, Any] = url.read_options(known, tls=True)
        token = Token.of_url(url, found)
        tls = client_tls(found) if url.tls else None
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


def format_go_duration(seconds: float) -> str:
    """Write a duration for Consul, to the nanosecond, which is Go's resolution."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def parse_go_duration(text: str) -> float:
    """Read a duration of Consul's, such as ``7.5s`` or ``1m30s``; returns seconds.

    This is Go's grammar, not that of `leadership_core.backend.parse_duration`: it has units down
    to ``ns``, and a number without a unit is no duration, so no answer with one is Consul's.

    Raises:
        ValueError: it is no duration.
    """
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _lock_delay(value: str) -> float:
    delay = as_seconds(value)
    if delay > MAX_LOCK_DELAY:
        raise ValueError(
            f"{value!r} is more than the {MAX_LOCK_DELAY:g} seconds that Consul allows"
        )
    return delay
