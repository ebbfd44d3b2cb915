"""What the URL says about an etcd: its endpoints, its user, its TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from leadership_core.errors import URLError
from leadership_core.precautions import warn_about_connection
from leadership_core.secret import Secret, read_password
from leadership_core.url import Host, StoreURL, text

from .credentials import TLS

__all__ = ["Options"]

DEFAULT_PORT = 2379


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach an etcd.

    Attributes:
        hosts: each with its port, in the order in which they are tried.
        prefix: what the URL puts before every key.
        user: None where etcd asks nobody who he is, or asks the certificate.
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
        """Read them from a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        found: dict[str, Any] = url.read_options({"password_file": text}, tls=True)
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
