"""The user and the password, as ZooKeeper's digest authentication takes them."""

from __future__ import annotations

from dataclasses import dataclass

from leadership_core.secret import Secret

__all__ = ["Login"]


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are.

    Attributes:
        user: without a colon.
        password: of that user.
    """

    user: str
    password: Secret

    def digest(self) -> str:
        """What is shown to a server."""
        return f"{self.user}:{self.password.reveal()}"
