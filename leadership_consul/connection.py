"""One HTTP connection to an agent, with a deadline for each request.

It uses the standard library's HTTP client. py-consul's default, `requests`, is not used: pooling,
redirects, proxies and cookies must not happen here, and without them a request to a fast agent
takes half the time.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, IncompleteRead
from ssl import SSLContext
from typing import NamedTuple

from leadership_core.backend import (
    Address,
    ClientTLS,
    DeadlineTLSSocket,
    RequestDeadline,
    bare,
    connect_with_deadline,
)

from .tls import Token

__all__ = ["Connection", "Response"]

_CHUNK = 256 * 1024  # bytes


class Response(NamedTuple):
    """An agent's answer; the token, which it may repeat, is masked."""

    status: int
    headers: HTTPMessage
    body: str


class Connection:
    """One HTTP connection, to one agent at a time; used by one thread, aborted by any.

    Args:
        tls: None for plain HTTP.
        token: sent with every request.

    Attributes:
        deadline: of the request under way.
    """

    def __init__(self, tls: ClientTLS | None, token: Token) -> None:
        self.deadline: RequestDeadline = RequestDeadline()
        self._token = token
        self._tls = tls
        self._http: _HTTPConnection | None = None

    def send(
        self,
        address: Address,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Response:
        """Send one request and read its answer to the end; blocks until `deadline.until` at most.

        Args:
            address: of the agent; connects if there is no connection to it.
            method: the HTTP method.
            target: the path and the query.
            headers: sent beside those of every request.
            body: or None.

        Raises:
            OSError, HTTPException: there is no answer; `deadline.sent` says whether the request
                may have reached the agent. The error has no traceback, because the frames of the
                HTTP client have the token in their variables.
        """
        context = self._tls.context() if self._tls else None
        if self._http is None or self._http.place != (address, context):
            # Another agent, or new TLS files, which make a new context.
            self.close()
            self._http = _HTTPConnection(address, context, self.deadline)
        elif self._http.is_stale():
            self._http.close()
        http = self._http
        self.deadline.fresh = http.sock is None
        problem: OSError | HTTPException
        try:
            # An agent compresses even on loopback if it may, which costs more than it saves.
            usual = {"User-Agent": "leadership", "Accept-Encoding": "identity"}
            http.request(method, target, body, {**usual, **headers, **self._token.headers()})
            with http.getresponse() as response:
                # In chunks: reading all at once allocates as much memory as the header promises.
                chunks = []
                while chunk := response.read(_CHUNK):
                    chunks.append(chunk)
                if response.length:
                    raise IncompleteRead(b"", response.length)
                text = b"".join(chunks).decode("utf-8", "replace")
                return Response(response.status, response.headers, self._token.masked(text))
        except (OSError, HTTPException) as error:
            http.close()  # the rest of the answer must not be read as that of another request
            said = self._token.masked(str(error))
            problem = bare(error) if said == str(error) else HTTPException(said)
        except BaseException:
            http.close()
            raise
        raise problem

    def is_connected(self, address: Address) -> bool:
        """Whether there is a connection to that address."""
        http = self._http
        return (
            http is not None
            and http.place[0] == address
            and http.sock is not None
            and not http.is_stale()
        )

    def close(self) -> None:
        """Close the connection; `send` opens it again."""
        if self._http is not None:
            self._http.close()

    def __del__(self) -> None:
        # The thread that it belonged to has ended.
        self.close()


class _HTTPConnection(HTTPConnection):
    """The standard library's connection with deadline sockets; connects again after a close."""

    def __init__(
        self, address: Address, context: SSLContext | None, deadline: RequestDeadline
    ) -> None:
        super().__init__(address.name, address.host.port)
        self.place = (address, context)
        self._context = context
        self._deadline = deadline

    def connect(self) -> None:
        sock = connect_with_deadline(self._deadline, self.place[0])
        if self._context is None:
            self.sock = sock
            return
        try:
            wrapped = self._context.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineTLSSocket)
        wrapped.deadline = self._deadline
        self._deadline.attach(wrapped)
        self.sock = wrapped

    def is_stale(self) -> bool:
        """Whether the agent has closed it, or has sent something that was not asked for."""
        if self.sock is None:
            return False
        if not hasattr(select, "poll"):
            return bool(select.select([self.sock], [], [], 0)[0])
        poll = select.poll()  # select.select takes no descriptor above 1023
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))
