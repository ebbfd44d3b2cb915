"""The credentials of a Consul client: its TLS settings and its ACL token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from leadership_core.backend import ClientTLS, Secret, StoreURL, URLError, use_deadline_sockets

__all__ = ["Token", "client_tls"]


def client_tls(options: Mapping[str, Any]) -> ClientTLS:
    """The TLS settings of a URL's options; raises `ConfigurationError` if a file is unusable."""
    return ClientTLS.of_options(options, use_deadline_sockets)


class Token:
    """An ACL token, masked in every text but the request header; thread-safe.

    See https://developer.hashicorp.com/consul/api-docs/api-structure#authentication.

    Args:
        secret: the token, or None.
    """

    def __init__(self, secret: Secret | None) -> None:
        self.secret = secret

    @classmethod
    def of_url(cls, url: StoreURL, options: Mapping[str, Any]) -> Token:
        """The token of a URL, or of `CONSUL_HTTP_TOKEN` if the URL has none.

        Args:
            url: with the token in its password place, if anywhere.
            options: of the URL.

        Raises:
            ConfigurationError: there are several, or the one there is cannot be used.
        """
        if url.username:
            raise URLError(
                "consul:// has no users: the token goes in the password place, ':TOKEN@'"
            )
        given = {
            "the password place": url.password,
            "token=": options.get("token"),
            "token_file=": options.get("token_file"),
        }
        places = [place for place, value in given.items() if value]
        if len(places) > 1:
            raise URLError(f"the token is given twice, in {' and in '.join(places)}")
        if path := given["token_file="]:
            return cls.from_file(path)
        # The URL takes precedence over the environment.
        return cls.from_text(
            given["the password place"] or given["token="] or os.environ.get("CONSUL_HTTP_TOKEN")
        )

    @classmethod
    def from_text(cls, value: str | None) -> Token:
        """The token of a URL or an environment variable.

        Raises:
            ConfigurationError: it has characters that are invalid in a token.
        """
        return cls(Secret(value, check=_check) if value else None)

    @classmethod
    def from_file(cls, path: str) -> Token:
        """The token in a file, which an agent such as Vault's may replace at any time.

        Raises:
            ConfigurationError: the file cannot be read, or does not hold a token.
        """
        return cls(Secret.from_file(path, "token_file", _check))

    def headers(self) -> dict[str, str]:
        """The request headers that carry the current token."""
        return {} if self.secret is None else {"X-Consul-Token": self.secret.reveal()}

    def masked(self, text: str) -> str:
        """The text without the token, which a faulty proxy may repeat in its answer."""
        return text if self.secret is None else self.secret.masked(text)

    def __repr__(self) -> str:
        return f"<Token {'none' if self.secret is None else '***'}>"


def _check(value: str) -> None:
    # An HTTP header takes nothing else. The message does not repeat the value.
    if not value.isascii() or not value.isprintable():
        raise ValueError("the Consul token has invalid characters")
