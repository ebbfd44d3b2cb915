"""Status server: serves the elections of a program over HTTP, in one thread."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from ..backend.fork import note_owned
from ..backend.security_warnings import is_loopback
from ..backend.validation import safe_repr
from ..errors import ConfigurationError
from . import pages
from .addresses import url_of
from .connection import Connection, Phase
from .elections import Elections
from .loop import Loop
from .members import Member
from .metrics import Metrics
from .requests import Request
from .responses import Response, text_response
from .streams import Streams

__all__ = ["StatusServer", "serve"]

log: logging.Logger = logging.getLogger("leadership.status")

_BACKLOG = 128
_CLOSE_SECONDS = 2.0


def serve(
    candidates_and_followers: Iterable[Member], host: str = "127.0.0.1", port: int = 0
) -> StatusServer:
    """Serve the status of elections over HTTP, until the server is closed or the program ends.

    The candidates need not have been started, and are not started by this; followers are. For an
    election without a follower among the members, the server follows it by itself. Returns at once;
    everything happens in a thread of the server, and delays no renewal.

    Everyone who reaches the address can read the keys and values of these elections. By default that
    is this machine; another address is served without a password or TLS, and logs a warning.

    Args:
        candidates_and_followers: whose elections to show, of one store or of several.
        host: the address or name to listen on.
        port: the port; 0 for a free one, see `StatusServer.port`.

    Raises:
        ConfigurationError: it cannot listen on that address; or a member is of another type.
        StoreClosed: the store of a member is closed.
        ForkedStore: the store of a member belongs to the parent process.

    Example:
        >>> from urllib.request import urlopen
        >>> with Candidate(store, "service/api", "node-1") as candidate, serve([candidate]) as status:
        ...     term = candidate.wait_elected(timeout=5)
        ...     urlopen(status.url + "livez").status
        200
    """
    return StatusServer(_listen(host, port), candidates_and_followers)


class StatusServer:
    """A running server; `serve` makes it. As a context manager it is closed at the end.

    All methods may be called from any thread, and from a signal handler. A forked child has no
    server: there the sockets are closed, and `close` has no effect.

    Args:
        listener: a listening socket, which the server closes.
        members: candidates and followers.
    """

    def __init__(self, listener: socket.socket, members: Iterable[Member]) -> None:
        self._process = os.getpid()
        address = listener.getsockname()
        self._host, self._port = str(address[0]), int(address[1])
        self._metrics = Metrics()
        self._loop = Loop(listener, self._answer, self._tick)
        try:
            self._elections = Elections(members, self._loop.wake)
            self._streams = Streams(self._elections.records)
            self._loop.start()
        except BaseException:
            if hasattr(self, "_elections"):
                self._elections.close()
            self._loop.close_sockets()
            raise
        note_owned(self._loop)
        if not is_loopback(self._host):
            log.warning(
                "%s is not the loopback address: everyone who reaches it can read the keys and values "
                "of these elections; put a proxy that asks for a password in front of 127.0.0.1",
                self.url,
            )

    @property
    def url(self) -> str:
        """The URL of the page, such as ``http://127.0.0.1:8080/``."""
        return url_of(self._host, self._port)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def close(self) -> None:
        """Close all connections, and end the threads; the candidates and followers go on.

        May be called repeatedly. Blocks for two seconds at most.
        """
        if self._process != os.getpid():
            return
        self._elections.close()
        self._metrics.close()
        self._loop.close(_CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StatusServer {self.url}>"

    # -- in the thread of the loop ---------------------------------------------------------

    def _tick(self, now: float) -> float:
        self._streams.note(self._elections.read())
        return self._streams.tick(now)

    def _answer(self, connection: Connection, request: Request) -> Response | None:
        refusal = pages.check_request(request, self._host)
        if refusal is not None:
            return refusal
        elections = self._elections.records
        match request.path:
            case "/":
                return pages.page(elections)
            case "/leader":
                return pages.leader(request, elections)
            case "/livez":
                return pages.health(elections)
            case "/readyz":
                return pages.readiness(elections)
            case "/events":
                return self._streams.open(connection, request)
            case "/metrics":
                return self._collect(connection, request)
            case path if path in pages.FILES:
                return pages.static_file(path)
            case _:
                paths = "/ /leader /livez /readyz /metrics /events"
                return text_response(404, f"not found; the paths are {paths}")

    def _collect(self, connection: Connection, request: Request) -> Response | None:
        def respond(response: Response) -> None:
            def send() -> None:
                if connection.phase is Phase.WAITING:  # not cut off meanwhile
                    connection.respond(response, time.monotonic())

            self._loop.post(send)

        return self._metrics.request(request.headers.get("accept", ""), respond)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket at the address.

    Raises:
        ConfigurationError: there is none to be had.
    """
    if not isinstance(host, str) or not isinstance(port, int) or not 0 <= port <= 65535 or not host:
        raise ConfigurationError(
            f"the address must be a host, such as 127.0.0.1, and a port, not {safe_repr(host)} and "
            f"{safe_repr(port)}"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _name, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                if os.name == "posix":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6 and host == "::":
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind(address)
                sock.listen(_BACKLOG)
            except BaseException as error:
                sock.close()
                if number == len(found) - 1 or not isinstance(error, OSError):
                    raise
            else:
                return sock
        raise OSError("no address")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"the status server cannot listen on {host!r:.100}, port {port}: {reason}; "
            "port 0 takes a free one"
        ) from error
