"""The credentials of a Redis client: its TLS settings, and the user and password of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.credentials import CredentialProvider

from leadership_core.backend import ClientTLS, Secret

__all__ = ["Login", "client_tls"]


def client_tls(options: Mapping[str, Any]) -> ClientTLS:
    """The TLS settings of a URL's options; raises `ConfigurationError` if a file is unusable."""
    return ClientTLS.of_options(options)


class Login(CredentialProvider):
    """A user and a password, which redis-py asks for at each new connection; masked in every text.

    Args:
        username: of the ACL, or None for the user `default`.
        secret: the password, or None where the server wants none.
    """

    def __init__(self, username: str | None = None, secret: Secret | None = None) -> None:
        self.username = username
        self.secret = secret

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What AUTH takes; called by redis-py."""
        password = "" if self.secret is None else self.secret.reveal()
        return (self.username, password) if self.username else (password,)

    def masked(self, text: str) -> str:
        """The text without the password."""
        return text if self.secret is None else self.secret.masked(text)

    def __repr__(self) -> str:
        return f"<Login {self.username or 'default'}>"
