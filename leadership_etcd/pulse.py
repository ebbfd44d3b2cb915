"""Finds out that a stream is dead although nobody says so."""

from __future__ import annotations

from collections.abc import Callable

from leadership_core import clock

from .client import Client
from .connection import Connection
from .errands import Errands

__all__ = ["Pulse"]

_SILENCE = 3.0  # seconds without a word after which to ask for a sign of life
_PATIENCE = 1.5  # seconds for that to come


class Pulse:
    """Asks over a connection for a sign of life, whenever its stream has been silent for a while.

    A router may forget a connection that is idle, and the pings of HTTP/2 are slow to notice:
    etcd hangs up on who sends them more often than every 5 s. A small call may come more often.

    Args:
        client, connection: whose stream it is.
        errands: who asks.
        ended: called once if there was none; it must not block.
    """

    def __init__(
        self, client: Client, connection: Connection, errands: Errands, ended: Callable[[], object]
    ) -> None:
        self.missed = False
        self._client, self._connection = client, connection
        self._errands = errands
        self._ended = ended
        self._heard = clock.now()
        self._over = False
        errands.add(self._feel, _SILENCE)

    def heard(self) -> None:
        """There has just been one."""
        self._heard = clock.now()

    def stop(self) -> None:
        """Ask no more; may be called again."""
        self._over = True

    def _feel(self) -> None:
        if self._over:
            return
        wait = self._heard + _SILENCE - clock.now()
        if wait <= 0:
            self._client.feel(self._connection, _PATIENCE, self._felt)
            wait = _SILENCE
        self._errands.add(self._feel, wait)

    def _felt(self, alive: bool) -> None:
        if alive:
            self.heard()
        elif not self._over:
            self._over = self.missed = True
            self._ended()
