"""Connection failures: their causes, which of them last, and the error for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import NotApplied, StoreRefused, StoreUnavailable
from .net import is_unknown_host, verified_name
from .text import one_line
from .tls import advice, is_tls_failure
from .url import Host

__all__ = ["ConnectFailure", "WrongServer", "cannot_connect", "shortened"]

_LONGEST = 200  # characters


class WrongServer(ConnectionAbortedError):
    """The server does not speak the store's protocol: another service has the port."""


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """A connection that could not be made.

    Attributes:
        place: the address, for the message.
        error: the error of the network or of TLS.
        host: as the URL has it.
        has_certificate: whether the client sends a certificate.
    """

    place: str
    error: Exception
    host: Host
    has_certificate: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether it lasts until it is repaired: TLS failure, unknown host, or another service."""
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


def cannot_connect(
    store: str, server: str, failed: Sequence[ConnectFailure], otherwise: str = "no time left"
) -> StoreUnavailable:
    """Make the error of a request that was not sent, because no server could be connected to.

    Args:
        store: the product's name.
        server: what should run at each address, with its article.
        failed: the connections that were tried.
        otherwise: the reason if none was tried.

    Returns:
        `StoreRefused` if all failures last until the configuration is changed, else `NotApplied`.
    """
    reasons = "; ".join(f"{failure.place}: {failure.explained(server)}" for failure in failed)
    if failed and all(failure.is_lasting for failure in failed):
        return StoreRefused(f"cannot connect to {store}: {reasons}")
    return NotApplied(f"cannot connect to {store}: {reasons or otherwise}")


def shortened(said: object) -> str:
    """Return an object's text on one line, printable and short."""
    return one_line(said, _LONGEST)
