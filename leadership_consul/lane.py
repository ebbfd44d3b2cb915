"""One thread's HTTP connection to the agents.

The standard library's client over our own sockets. py-consul's usual way, `requests`, is left
out: pooling, redirects, proxies and cookies are all things that must not happen here, and
without them a request to a fast agent takes half the time.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, IncompleteRead
from ssl import SSLContext
from typing import NamedTuple
from urllib.parse import urlsplit

from .credentials import TLS
from .wire import DeadlineTLSSocket, Line, dial

__all__ = ["Answer", "Lane"]

_PIECE = 256 * 1024  # bytes


class Answer(NamedTuple):
    """What an agent said."""

    status: int
    headers: HTTPMessage
    body: bytes


class Lane:
    """A connection, now to one agent and now to another; used by one thread, cut by any."""

    def __init__(self, tls: TLS | None) -> None:
        self.line = Line()
        self._tls = tls
        self._connection: _Connection | None = None

    def send(
        self, agent: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Send one request within the time of the line, and read its answer to the end.

        Raises:
            OSError, HTTPException: it did not come to that; `line.sent` tells how far it came.
        """
        connection = self._connect(agent)
        try:
            # An agent compresses even on loopback if it may, which costs more than it saves.
            shown = {"User-Agent": "leadership", "Accept-Encoding": "identity", **headers}
            connection.request(method, target, body, shown)
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, _body(response))
        except BaseException:
            connection.close()  # what is left of the answer belongs to no other request
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def __del__(self) -> None:
        # The thread that it belonged to has ended.
        self.close()

    def _connect(self, agent: str) -> _Connection:
        context = self._tls.context() if self._tls else None
        # New TLS files make a new context, and a connection made with the old ones is given up.
        if self._connection is None or self._connection.place != (agent, context):
            self.close()
            self._connection = _Connection(agent, context, self.line)
        elif self._connection.is_stale():
            self._connection.close()
        return self._connection


class _Connection(HTTPConnection):
    """A connection to one agent, that dials again when it was closed."""

    def __init__(self, agent: str, context: SSLContext | None, line: Line) -> None:
        url = urlsplit(agent)
        super().__init__(url.hostname or "", url.port)
        self.place = (agent, context)
        self._context = context
        self._line = line

    def connect(self) -> None:
        sock = dial(self._line, self.host, self.port)
        if self._context is None:
            self.sock = sock
            return
        try:
            wrapped = self._context.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineTLSSocket)
        wrapped.line = self._line
        self._line.carry(wrapped)
        self.sock = wrapped

    def is_stale(self) -> bool:
        """Whether the agent has hung up, or said something that nobody had asked for."""
        return self.sock is not None and bool(_readable(self.sock))


def _body(response: HTTPResponse) -> bytes:
    # Piece by piece: reading all of it would get the memory for as much as the head promises.
    pieces = []
    while piece := response.read(_PIECE):
        pieces.append(piece)
    if response.length:
        raise IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _readable(sock: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()  # select.select takes no descriptor above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
