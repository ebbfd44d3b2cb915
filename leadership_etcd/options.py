"""What the URL says about an etcd: its endpoints, its user, its TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from leadership_core.errors import URLError
from leadership_core.url import StoreURL

from .credentials import TLS

__all__ = ["Options"]

DEFAULT_PORT = 2379


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach an etcd.

    Attributes:
        endpoints: ``host:port``, in the order in which they are tried.
        prefix: what the URL puts before every key.
        user: None where etcd asks nobody who he is, or asks the certificate.
        password: of that user.
        tls: None for plain text.
    """

    endpoints: tuple[str, ...]
    prefix: str
    user: str | None
    password: str | None = field(repr=False)
    tls: TLS | None

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read them from a URL.

        Raises:
            ConfigurationError: a part is wrong, or a file that it names cannot be used.
        """
        found: dict[str, Any] = url.read_options({}, tls=True)
        if "key" in found and "cert" not in found:
            raise URLError("option 'key' is of use only with option 'cert'")
        if url.password is not None and not url.username:
            raise URLError("etcd:// needs a user with the password: 'USER:PASSWORD@'")
        if url.username and not url.password:
            raise URLError("etcd:// needs a password with the user: 'USER:PASSWORD@'")
        hosts = url.with_default_port(DEFAULT_PORT).hosts
        return cls(
            endpoints=tuple(dict.fromkeys(map(str, hosts))),
            prefix=url.prefix,
            user=url.username,
            password=url.password,
            tls=_tls(found) if url.tls else None,
        )


def _tls(found: dict[str, Any]) -> TLS:
    return TLS(found.get("ca"), found.get("cert"), found.get("key"), found.get("verify", True))
