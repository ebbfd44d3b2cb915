"""One HTTP connection to an API server, with a deadline for each request and for each stream."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from ssl import SSLContext
from typing import NamedTuple

from leadership_core.backend import (
    Address,
    DeadlineTLSSocket,
    RequestDeadline,
    bare,
    connect_with_deadline,
)

from .credentials import Credentials
from .tls import ClusterTLS

__all__ = ["Connection", "Response"]

_CHUNK = 256 * 1024  # bytes
_LONGEST_LINE = 8 * 1024**2  # bytes of one event of a watch


class Response(NamedTuple):
    """A server's answer; the token, which it may repeat, is masked."""

    status: int
    headers: HTTPMessage
    body: str


class Connection:
    """One HTTP connection, to one server at a time; used by one thread, aborted by any.

    Args:
        tls: None for plain HTTP.
        credentials: whose token is masked in what a server says.

    Attributes:
        deadline: of the request under way.
    """

    def __init__(self, tls: ClusterTLS | None, credentials: Credentials) -> None:
        self.deadline: RequestDeadline = RequestDeadline()
        self._credentials = credentials
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
            address: of the server; connects if there is no connection to it.
            method: the HTTP method.
            target: the path and the query.
            headers: with the credentials.
            body: or None.

        Raises:
            OSError, HTTPException: there is no answer; `deadline.sent` says whether the request
                may have reached the server. The error has no traceback, because the frames of the
                HTTP client have the token in their variables.
        """
        problem: OSError | HTTPException
        try:
            with self._begin(address, method, target, headers, body) as response:
                return self._read(response)
        except (OSError, HTTPException) as error:
            problem = self._closed(error)
        except BaseException:
            self.close()
            raise
        raise problem

    def open(
        self, address: Address, target: str, headers: Mapping[str, str]
    ) -> Response | HTTPResponse:
        """Send a GET whose answer is a stream; returns an answer other than 200 as `send` does.

        Raises:
            OSError, HTTPException: as `send`.
        """
        problem: OSError | HTTPException
        try:
            response = self._begin(address, "GET", target, headers, None)
            if response.status == 200:
                return response
            with response:
                return self._read(response)
        except (OSError, HTTPException) as error:
            problem = self._closed(error)
        except BaseException:
            self.close()
            raise
        raise problem

    def lines(self, response: HTTPResponse) -> Iterator[bytes]:
        """The lines of a stream, until the server ends it.

        Raises:
            OSError, HTTPException: the connection has ended before.
        """
        problem: OSError | HTTPException
        rest = b""
        try:
            while chunk := response.read1(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
                if len(rest) > _LONGEST_LINE:
                    raise OSError(f"an event is longer than {_LONGEST_LINE // 1024**2} MiB")
            if rest:
                raise IncompleteRead(rest)
            return
        except (OSError, HTTPException) as error:
            problem = self._closed(error)
        except (ValueError, AttributeError) as error:  # it was closed while it was read
            problem = self._closed(ConnectionAbortedError(str(error)))
        finally:
            self.close()
        raise problem

    def _begin(
        self,
        address: Address,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> HTTPResponse:
        context = self._tls.context() if self._tls else None
        if self._http is None or self._http.place != (address, context):
            # Another server, or new TLS files, which make a new context.
            self.close()
            server_name = self._tls.server_name if self._tls else None
            self._http = _HTTPConnection(address, context, self.deadline, server_name)
        elif self._http.is_stale():
            self._http.close()
        self.deadline.fresh = self._http.sock is None
        usual = {
            "User-Agent": "leadership",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if body is not None:
            usual["Content-Type"] = "application/json"
        self._http.request(method, target, body, {**usual, **headers})
        return self._http.getresponse()

    def _read(self, response: HTTPResponse) -> Response:
        # In chunks: reading all at once allocates as much memory as the header promises.
        chunks = []
        while chunk := response.read(_CHUNK):
            chunks.append(chunk)
        if response.length:
            raise IncompleteRead(b"", response.length)
        text = b"".join(chunks).decode("utf-8", "replace")
        if response.status >= 300:
            text = self._credentials.masked(text)
        return Response(response.status, response.headers, text)

    def _closed(self, error: OSError | HTTPException) -> OSError | HTTPException:
        # The rest of the answer must not be read as that of another request.
        self.close()
        said = self._credentials.masked(str(error))
        return bare(error) if said == str(error) else HTTPException(said)

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
        self,
        address: Address,
        context: SSLContext | None,
        deadline: RequestDeadline,
        server_name: str | None,
    ) -> None:
        super().__init__(address.name, address.host.port)
        self.place = (address, context)
        self._server_name = server_name or address.name
        self._context = context
        self._deadline = deadline

    def connect(self) -> None:
        sock = connect_with_deadline(self._deadline, self.place[0])
        if self._context is None:
            self.sock = sock
            return
        try:
            wrapped = self._context.wrap_socket(sock, server_hostname=self._server_name)
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineTLSSocket)
        wrapped.deadline = self._deadline
        self._deadline.attach(wrapped)
        self.sock = wrapped

    def is_stale(self) -> bool:
        """Whether the server has closed it, or has sent something that was not asked for."""
        if self.sock is None:
            return False
        if not hasattr(select, "poll"):
            return bool(select.select([self.sock], [], [], 0)[0])
        poll = select.poll()  # select.select takes no descriptor above 1023
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))
