"""One thread's HTTP connection to the agents.

The standard library's client over our own sockets. py-consul's usual way, `requests`, is left
out: pooling, redirects, proxies and cookies are all things that must not happen here, and
without them a request to a fast agent takes half the time.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from ssl import SSLContext
from typing import NamedTuple

from leadership_core.addresses import Address
from leadership_core.tls import ClientTLS
from leadership_core.tracebacks import bare

from .credentials import Token
from .wire import DeadlineTLSSocket, Line, dial

__all__ = ["Answer", "Lane"]

_PIECE = 256 * 1024  # bytes


class Answer(NamedTuple):
    """What an agent said, without the token, which it may repeat."""

    status: int
    headers: HTTPMessage
    body: str


class Lane:
    """A connection, now to one agent and now to another; used by one thread, cut by any."""

    def __init__(self, tls: ClientTLS | None, token: Token) -> None:
        self.line = Line()
        self._token = token
        self._tls = tls
        self._connection: _Connection | None = None

    def send(
        self,
        address: Address,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answer:
        """Send one request within the time of the line, and read its answer to the end.

        Raises:
            OSError, HTTPException: it did not come to that; `line.sent` tells how far it came. It
                has no traceback: the frames of the HTTP client have the token in their variables.
        """
        connection = self._connect(address)
        self.line.fresh = connection.sock is None
        problem: OSError | HTTPException
        try:
            # An agent compresses even on loopback if it may, which costs more than it saves.
            usual = {"User-Agent": "leadership", "Accept-Encoding": "identity"}
            connection.request(method, target, body, {**usual, **headers, **self._token.headers()})
            with connection.getresponse() as response:
                body_text = _body(response).decode("utf-8", "replace")
                return Answer(response.status, response.headers, self._token.masked(body_text))
        except (OSError, HTTPException) as error:
            connection.close()  # what is left of the answer belongs to no other request
            problem = self._harmless(error)
        except BaseException:
            connection.close()
            raise
        raise problem

    def _harmless(self, error: OSError | HTTPException) -> OSError | HTTPException:
        text = self._token.masked(str(error))
        return bare(error) if text == str(error) else HTTPException(text)

    def is_connected(self, address: Address) -> bool:
        """Whether there is a connection to that address."""
        connection = self._connection
        return (
            connection is not None
            and connection.place[0] == address
            and connection.sock is not None
            and not connection.is_stale()
        )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def __del__(self) -> None:
        # The thread that it belonged to has ended.
        self.close()

    def _connect(self, address: Address) -> _Connection:
        context = self._tls.context() if self._tls else None
        # New TLS files make a new context, and a connection made with the old ones is given up.
        if self._connection is None or self._connection.place != (address, context):
            self.close()
            self._connection = _Connection(address, context, self.line)
        elif self._connection.is_stale():
            self._connection.close()
        return self._connection


class _Connection(HTTPConnection):
    """A connection to one agent, that dials again when it was closed."""

    def __init__(self, address: Address, context: SSLContext | None, line: Line) -> None:
        super().__init__(address.name, address.host.port)
        self.place = (address, context)
        self._context = context
        self._line = line

    def connect(self) -> None:
        sock = dial(self._line, self.place[0])
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
