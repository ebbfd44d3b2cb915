"""Why a server could not be connected to, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from .addresses import is_unknown_host, verified_name
from .text import one_line
from .tls import advice, is_tls_failure
from .url import Host

__all__ = ["ConnectFailure", "WrongServer", "shortened"]

_LONGEST = 200  # characters


class WrongServer(ConnectionAbortedError):
    """What answers does not speak the store's protocol: another service has the port."""


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """A connection that could not be made.

    Attributes:
        place: where to, for the message.
        error: what the network or TLS says.
        host: as the URL has it.
        has_certificate: whether we show a certificate of our own.
    """

    place: str
    error: Exception
    host: Host
    has_certificate: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether time alone does not mend it: TLS fails, no such host, or another service."""
        return (
            is_tls_failure(self.error)
            or is_unknown_host(self.error)
            or isinstance(self.error, WrongServer)
        )

    def explained(self, server: str) -> str:
        """Say what is wrong, and what to do.

        Args:
            server: what should run there, with its article.
        """
        if is_unknown_host(self.error):
            return "unknown host; check the name in the URL"
        if is_tls_failure(self.error):
            name = verified_name(self.host.name)
            return advice(self.error, name=name, has_certificate=self.has_certificate)
        if isinstance(self.error, ConnectionRefusedError):
            return f"{shortened(self.error)}; is {server} running there?"
        return shortened(self.error)

    def __str__(self) -> str:
        return f"{self.place}: {shortened(self.error)}"


def shortened(said: object) -> str:
    """What something says, on one line, printable and short."""
    return one_line(said, _LONGEST)
