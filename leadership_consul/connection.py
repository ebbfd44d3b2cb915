"""One HTTP connection to an agent, with a deadline for each request.

py-consul's default, `requests`, is not used: pooling, redirects, proxies and cookies must not happen
here, and without them a request to a fast agent takes half the time.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from http.client import HTTPException
from socket import socket
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

from .http import exchange, host_header
from .tls import Token

__all__ = ["Connection", "Response"]


class Response(NamedTuple):
    """An agent's answer; the token, which it may repeat, is masked.

    Attributes:
        status: of HTTP.
        modify_index: the header `X-Consul-Index`; None without it.
        body: decoded.
    """

    status: int
    modify_index: str | None
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
        self._place: tuple[Address, SSLContext | None] | None = None
        self._host = ""
        self._sock: socket | None = None
        self._checked = False  # `is_connected` has just found that it is not stale

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
        checked, self._checked = self._checked, False
        if self._place != (address, context) or (not checked and self._is_stale()):
            # Another agent; or new TLS files, which make a new context; or the agent has closed it.
            self.close()
            self._place = address, context
            self._host = host_header(address.name, address.host.port or 0)
        self.deadline.fresh = self._sock is None
        problem: OSError | HTTPException
        try:
            sock = self._sock
            if sock is None:
                sock = self._sock = self._connect(address, context)
            answer = exchange(
                sock,
                method,
                target,
                {
                    "Host": self._host,
                    "User-Agent": "leadership",
                    # An agent compresses even on loopback if it may, which costs more than it saves.
                    "Accept-Encoding": "identity",
                    **headers,
                    **self._token.headers(),
                },
                body,
            )
            if answer.closes:
                self.close()
            index = None if answer.modify_index is None else self._token.masked(answer.modify_index)
            text = self._token.masked(answer.body.decode("utf-8", "replace"))
            return Response(answer.status, index, text)
        except (OSError, HTTPException) as error:
            self.close()  # the rest of the answer must not be read as that of another request
            said = self._token.masked(str(error))
            problem = bare(error) if said == str(error) else HTTPException(said)
        except BaseException:
            self.close()
            raise
        raise problem

    def is_connected(self, address: Address) -> bool:
        """Whether there is a connection to that address; the next request relies on the answer."""
        self._checked = (
            self._sock is not None
            and self._place is not None
            and self._place[0] == address
            and not self._is_stale()
        )
        return self._checked

    def close(self) -> None:
        """Close the connection; `send` opens it again."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        # The thread that it belonged to has ended.
        self.close()

    def _connect(self, address: Address, context: SSLContext | None) -> socket:
        sock = connect_with_deadline(self.deadline, address)
        if context is None:
            return sock
        try:
            wrapped = context.wrap_socket(sock, server_hostname=address.name)
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineTLSSocket)
        wrapped.deadline = self.deadline
        self.deadline.attach(wrapped)
        return wrapped

    def _is_stale(self) -> bool:
        """Whether the agent has closed it, or has sent something that was not asked for."""
        sock = self._sock
        if sock is None:
            return False
        if not hasattr(select, "poll"):
            return bool(select.select([sock], [], [], 0)[0])
        poll = select.poll()  # select.select takes no descriptor above 1023
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
