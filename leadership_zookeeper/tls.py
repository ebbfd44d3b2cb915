"""Credentials of a client: the user for digest authentication, and TLS contexts.

See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#sc_ZooKeeperAccessControl.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Self

from leadership_core.backend import Secret, StoreURL, URLError, read_password

from .monitored_sockets import MonitoredTLSSocket

__all__ = ["Login", "use_monitored_sockets"]


@dataclass(frozen=True, slots=True)
class Login:
    """A user of ZooKeeper's digest scheme.

    Attributes:
        user: without a colon.
        password: of that user.
    """

    user: str
    password: Secret

    @classmethod
    def read(cls, url: StoreURL, password_file: str | None) -> Self | None:
        """Read user and password of a URL; None if it has neither.

        Args:
            url: of the store.
            password_file: path of a file with the password, or None.

        Raises:
            ConfigurationError: one of them is missing or invalid.
        """
        password = read_password(url, password_file)
        if url.username is None and password is None:
            return None
        if not url.username or password is None:
            raise URLError(
                f"{url.scheme}:// takes a user and a password, 'USER:PASSWORD@' or 'USER@' and "
                "password_file=, or neither"
            )
        if ":" in url.username:
            raise URLError("a user of ZooKeeper cannot contain a colon: choose another user")
        return cls(url.username, password)

    def digest(self) -> str:
        """The credential as it is sent to a server."""
        return f"{self.user}:{self.password.reveal()}"


def use_monitored_sockets(context: ssl.SSLContext) -> None:
    """Let a TLS context create `MonitoredTLSSocket`."""
    context.sslsocket_class = MonitoredTLSSocket
