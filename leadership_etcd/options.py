"""Options of an ``etcd://`` URL: endpoints, user, TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from leadership_core.backend import (
    Host,
    Secret,
    StoreURL,
    URLError,
    as_text,
    read_password,
    warn_about_connection,
)

from .tls import TLS

__all__ = ["Options"]

DEFAULT_PORT = 2379


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect to an etcd.

    Attributes:
        hosts: each with its port, in the order in which they are tried.
        prefix: of every key.
        user: None where etcd requires none, or takes it from the TLS certificate.
        password: of that user.
        tls: None for plain text.
    """

    hosts: tuple[Host, ...]
    prefix: str
    user: str | None
    password: Secret | None
    tls: TLS | None

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read the options of a URL, and the files that it names.

        Raises:
            ConfigurationError: a part is wrong, or a file cannot be used.
        """
        found: dict[str, Any] = url.read_options({"password_file": as_text}, tls=True)
        password = read_password(url, found.get("password_file"))
        if password is not None and not url.username:
            raise URLError("etcd:// needs a user with the password: 'USER:PASSWORD@'")
        if url.username and password is None:
            raise URLError(
                "etcd:// needs a password with the user: 'USER:PASSWORD@', or 'USER@' and "
                "password_file="
            )
        tls = TLS.of_options(found) if url.tls else None
        warn_about_connection(url, verify=found.get("verify", True), secret=password)
        return cls(
            hosts=tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts)),
            prefix=url.prefix,
            user=url.username,
            password=password,
            tls=tls,
        )
