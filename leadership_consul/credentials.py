"""The ACL token, as a header shows it to an agent."""

from __future__ import annotations

from leadership_core.secret import Secret

__all__ = ["Token"]


class Token:
    """An ACL token that shows itself to nobody but the agent; safe for several threads.

    Args:
        secret: the token, or None.
    """

    def __init__(self, secret: Secret | None) -> None:
        self.secret = secret

    @classmethod
    def from_text(cls, value: str | None) -> Token:
        """Take it as it is; raises ConfigurationError if no token looks like that."""
        return cls(Secret(value, check=_check) if value else None)

    @classmethod
    def from_file(cls, path: str) -> Token:
        """Take it from a file, which an agent such as Vault's may replace at any time.

        Raises:
            ConfigurationError: the file cannot be read, or does not hold a token.
        """
        return cls(Secret.from_file(path, "token_file", _check))

    def headers(self) -> dict[str, str]:
        """The headers that show the token of now to an agent."""
        return {} if self.secret is None else {"X-Consul-Token": self.secret.reveal()}

    def masked(self, text: str) -> str:
        """The text without the token: a proxy in trouble shows what it was asked."""
        return text if self.secret is None else self.secret.masked(text)

    def __repr__(self) -> str:
        return f"<Token {'none' if self.secret is None else '***'}>"


def _check(value: str) -> None:
    # A header takes no more; the value itself is never repeated.
    if not value.isascii() or not value.isprintable():
        raise ValueError("the Consul token has characters that no token has")
