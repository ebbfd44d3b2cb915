"""What the URL says about a ZooKeeper: its servers, its chroot, the user, its tick, its TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from leadership_core.errors import URLError
from leadership_core.url import Host, StoreURL, seconds

from .credentials import TLS

__all__ = ["Options"]

DEFAULT_PORT = 2181
DEFAULT_TICK = 2.0  # seconds; as in the configuration that ZooKeeper is shipped with


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a ZooKeeper, and how to write there.

    Attributes:
        hosts: each with its port; any of them will do.
        prefix: what the URL puts before every key.
        tick: seconds; the servers' tickTime, which no client can read.
        credentials: ``user:password``, or None.
        tls: None for a plain connection.
    """

    hosts: tuple[Host, ...]
    prefix: str
    tick: float
    credentials: str | None = field(repr=False)
    tls: TLS | None

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read them from a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        found: dict[str, Any] = url.read_options({"tick": _tick}, tls=True)
        return cls(
            hosts=tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts)),
            prefix=url.prefix,
            tick=found.get("tick", DEFAULT_TICK),
            credentials=_credentials(url),
            tls=_tls(found) if url.tls else None,
        )

    @property
    def acl(self) -> list[ACL]:
        """Who may use what we make: only our user, or everybody where there is none."""
        return list(OPEN_ACL_UNSAFE if self.credentials is None else CREATOR_ALL_ACL)


def _tick(value: str) -> float:
    tick = seconds(value)
    if not 0 < tick <= 60:
        raise ValueError(f"{value!r} is no tick of a server: it is more than 0 and at most 60 s")
    return tick


def _credentials(url: StoreURL) -> str | None:
    if url.username is None and url.password is None:
        return None
    if not url.username or not url.password:
        raise URLError(f"{url.scheme}:// takes a user and a password, 'user:password@', or neither")
    if ":" in url.username:
        raise URLError("a colon cannot be part of a user of ZooKeeper")
    return f"{url.username}:{url.password}"


def _tls(found: dict[str, Any]) -> TLS:
    if "key" in found and "cert" not in found:
        raise URLError("option 'key' is of use only with option 'cert'")
    return TLS(found.get("ca"), found.get("cert"), found.get("key"), found.get("verify", True))
