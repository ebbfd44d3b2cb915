"""What the URL says about a ZooKeeper: its servers, its chroot, the user, its tick, its TLS."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Self

from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from leadership_core.addresses import Addresses
from leadership_core.errors import URLError
from leadership_core.precautions import warn_about_connection
from leadership_core.secret import read_password
from leadership_core.tls import ClientTLS
from leadership_core.url import Host, StoreURL, seconds, text

from .credentials import Login
from .wire import adapt

__all__ = ["Options"]

DEFAULT_PORT = 2181
DEFAULT_TICK = 2.0  # seconds; as in the configuration that ZooKeeper is shipped with


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a ZooKeeper, and how to write there.

    Attributes:
        hosts: each with its port; any of them will do.
        addresses: of the hosts, and which of them have failed.
        prefix: what the URL puts before every key.
        tick: seconds; the servers' tickTime, which no client can read.
        login: who we are, or None.
        tls: None for a plain connection.
    """

    hosts: tuple[Host, ...]
    addresses: Addresses
    prefix: str
    tick: float
    login: Login | None
    tls: ClientTLS | None

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read them from a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        known = {"tick": _tick, "password_file": text}
        found: dict[str, Any] = url.read_options(known, tls=True)
        login = _login(url, found.get("password_file"))
        tls = ClientTLS.of_options(found, adapt) if url.tls else None
        warn_about_connection(
            url, verify=found.get("verify", True), secret=None if login is None else login.password
        )
        hosts = tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts))
        return cls(
            hosts=hosts,
            # Not all clients to the same server first.
            addresses=Addresses(
                sorted(hosts, key=lambda _: random.random()), thread="leadership-zookeeper-resolve"
            ),
            prefix=url.prefix,
            tick=found.get("tick", DEFAULT_TICK),
            login=login,
            tls=tls,
        )

    @property
    def acl(self) -> list[ACL]:
        """Who may use what we make: only our user, or everybody where there is none."""
        return list(OPEN_ACL_UNSAFE if self.login is None else CREATOR_ALL_ACL)


def _tick(value: str) -> float:
    tick = seconds(value)
    if not 0 < tick <= 60:
        raise ValueError(f"{value!r} is no tick of a server: it is more than 0 and at most 60 s")
    return tick


def _login(url: StoreURL, file: str | None) -> Login | None:
    password = read_password(url, file)
    if url.username is None and password is None:
        return None
    if not url.username or password is None:
        raise URLError(
            f"{url.scheme}:// takes a user and a password, 'USER:PASSWORD@' or 'USER@' and "
            "password_file=, or neither"
        )
    if ":" in url.username:
        raise URLError("a colon cannot be part of a user of ZooKeeper")
    return Login(url.username, password)
