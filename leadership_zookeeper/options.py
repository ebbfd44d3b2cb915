"""Options of a ZooKeeper URL: servers, chroot, user, tick, recipe and TLS."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Self

from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from leadership_core.backend import (
    Addresses,
    ClientTLS,
    Host,
    RateLimiter,
    StoreURL,
    as_seconds,
    as_text,
    warn_about_connection,
)

from .recipe import KAZOO, RECIPES, Recipe
from .tls import Login, use_monitored_sockets

__all__ = ["Options"]

DEFAULT_PORT = 2181
DEFAULT_TICK = 2.0  # seconds; tickTime of the configuration that ZooKeeper is shipped with

# Connections that are accepted per server: at once after the first, and per second. kazoo pauses between failed
# attempts only, so a server that accepts and hangs up would be connected to without a pause.
_CONNECT_BURST = 4
_CONNECT_RATE = 2.0  # as kazoo's own longest pause


@dataclass(frozen=True, slots=True)
class Options:
    """The servers of a ZooKeeper, and how to connect and write to them.

    Attributes:
        hosts: the servers with their ports; any of them serves all requests.
        addresses: of the hosts, with the recent failures.
        prefix: the chroot of the URL, which precedes every key.
        tick: the servers' tickTime in seconds, which no client can read.
        recipe: of the elections; candidates with another one do not take part in them.
        login: user and password, or None.
        tls: None for plain connections.
    """

    hosts: tuple[Host, ...]
    addresses: Addresses
    prefix: str
    tick: float
    recipe: Recipe
    login: Login | None
    tls: ClientTLS | None

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Parse a URL; contacts no server.

        Raises:
            ConfigurationError: a part of it is invalid, or a file that it names cannot be used.
        """

        def as_tick(value: str) -> float:
            tick = as_seconds(value)
            if not 0 < tick <= 60:
                raise ValueError(
                    f"{value!r} is not a valid tick: it must be more than 0 and at most 60 s"
                )
            return tick

        def as_recipe(value: str) -> Recipe:
            if value not in RECIPES:
                raise ValueError(f"{value!r:.60} is none of the recipes {', '.join(RECIPES)}")
            return RECIPES[value]

        known = {"tick": as_tick, "recipe": as_recipe, "password_file": as_text}
        found: dict[str, Any] = url.read_options(known, tls=True)
        login = Login.read(url, found.get("password_file"))
        tls = ClientTLS.of_options(found, use_monitored_sockets) if url.tls else None
        warn_about_connection(
            url, verify=found.get("verify", True), secret=None if login is None else login.password
        )
        hosts = tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts))
        return cls(
            hosts=hosts,
            # In random order, or all clients would connect to the same server.
            addresses=Addresses(
                sorted(hosts, key=lambda _: random.random()), thread="leadership-zookeeper-resolve"
            ),
            prefix=url.prefix,
            tick=found.get("tick", DEFAULT_TICK),
            recipe=found.get("recipe", KAZOO),
            login=login,
            tls=tls,
        )

    @property
    def acl(self) -> list[ACL]:
        """The ACL of new nodes: all rights for the user of the URL, or for all without one."""
        return list(OPEN_ACL_UNSAFE if self.login is None else CREATOR_ALL_ACL)

    def new_connect_limiter(self) -> RateLimiter:
        """A rate limiter for the connections of one client, or of a client and its successors."""
        count = len(self.hosts)
        return RateLimiter(1 + _CONNECT_BURST * count, _CONNECT_RATE * count)
