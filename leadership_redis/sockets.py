"""Connections of redis-py with a total deadline for each request, which any thread can abort.

redis-py has one timeout for each read of a connection, so an answer that comes byte by byte would
never be given up. Here each read and write of its socket gets the rest of the request's time.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import select
import socket
import ssl
from collections.abc import Sequence
from math import inf
from typing import Any

import redis

from leadership_core.backend import Address, ClientTLS, clock, connected

from .tls import Login

__all__ = ["MAX_RESPONSE_SIZE", "Connection", "Deadline"]

MAX_RESPONSE_SIZE = 64 * 1024**2
"""Bytes of an answer; a list of all entries is one answer."""

_FRESH_SECONDS = 0.01  # after an answer; a server closes no connection so soon without a reason

_KEEPALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]

# redis-py introduces itself to the server with CLIENT SETINFO, which needs a right more and two
# round trips. How to leave that out depends on its release.
_PARAMETERS = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
_SILENT: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in _PARAMETERS
    else {name: None for name in ("lib_name", "lib_version") if name in _PARAMETERS}
)


class Deadline:
    """The deadline and the progress of the request that a connection carries.

    One thread uses it; any thread may `abort` it.

    Attributes:
        until: when the request must have ended, on `clock.now`.
        sent: whether any byte of it may have reached the server.
        received: bytes of its answer so far.
    """

    def __init__(self) -> None:
        self.until: float = 0.0
        self.sent = False
        self.received: int = 0
        self._socket: socket.socket | None = None
        self._aborted = False
        self._pid = os.getpid()

    @property
    def is_aborted(self) -> bool:
        return self._aborted

    def attach(self, sock: socket.socket) -> None:
        """Set the socket that `abort` shuts down."""
        self._socket = sock

    def remaining(self) -> float:
        """Seconds that the next read or write may take.

        Raises:
            ConnectionAbortedError: `abort` was called.
            TimeoutError: no time is left.
        """
        remaining = self.until - clock.now()
        if self._aborted:
            raise ConnectionAbortedError("the connection was aborted")
        if remaining <= 0:
            raise TimeoutError("the request has timed out")
        return remaining

    def count(self, received: int) -> None:
        """Add to the bytes received; raises OSError above `MAX_RESPONSE_SIZE`."""
        self.received += received
        if self.received > MAX_RESPONSE_SIZE:
            raise OSError(f"the answer is longer than {MAX_RESPONSE_SIZE // 1024**2} MiB")

    def abort(self) -> None:
        """End the request under way, and every later one; from any thread."""
        # The flag is set first: a socket that is opened after this checks it before it waits.
        self._aborted = True
        sock = self._socket
        if sock is None or os.getpid() != self._pid:
            return  # a forked child shares the connection: a shutdown would end the parent's
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which takes the TLS state away from the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def end_in_child(self) -> None:
        """Let no request begin in a forked child; touches no socket."""
        self._aborted = True


class _DeadlineSocket:
    """What redis-py uses of a socket, with the deadline of the request for each operation."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def recv(self, size: int) -> bytes:
        self._sock.settimeout(self._deadline.remaining())
        data = self._sock.recv(size)
        self._deadline.count(len(data))
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        self._sock.settimeout(self._deadline.remaining())
        number = self._sock.recv_into(buffer, size)
        self._deadline.count(number)
        return number

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.remaining())
        self._deadline.sent = True
        self._sock.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the deadline decides."""

    def gettimeout(self) -> float | None:
        return self._sock.gettimeout()

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        self._sock.close()

    def is_stale(self) -> bool:
        """Whether the server has closed it, or has sent something that was not asked for."""
        if not hasattr(select, "poll"):
            return bool(select.select([self._sock], [], [], 0)[0])
        poll = select.poll()  # select.select takes no descriptor above 1023
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))


class Connection(redis.Connection):
    """One connection to an address; used by one thread, aborted by any.

    Args:
        address: of the server.
        tls: None for plain TCP.
        login: user and password.
        database: the number of the database to select.

    Attributes:
        address: as given.
        deadline: of the request under way.
    """

    def __init__(
        self, address: Address, tls: ClientTLS | None, login: Login, database: int = 0
    ) -> None:
        self.address = address
        self.deadline: Deadline = Deadline()
        self._answered_at = -inf
        self._tls = tls
        super().__init__(  # type: ignore[no-untyped-call, unused-ignore]  # redis-py has no types here
            host=address.host.name,
            port=address.host.port,
            db=database,
            credential_provider=login if login.secret is not None else None,
            protocol=2,  # the older one, without server pushes between the answers
            socket_timeout=None,
            socket_connect_timeout=None,
            **_SILENT,
        )

    def _connect(self) -> Any:  # redis-py calls it for a new socket
        address, until = self.address, self.deadline.until
        sock = connected(address, until)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in _KEEPALIVE:
                sock.setsockopt(*option)
            self.deadline.attach(sock)
            sock.settimeout(self.deadline.remaining())
            if self._tls is not None:
                sock = self._tls.context().wrap_socket(sock, server_hostname=address.name)
                self.deadline.attach(sock)
        except BaseException:
            sock.close()
            raise
        return _DeadlineSocket(sock, self.deadline)

    def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands at once, and return their answers; blocks until `deadline.until` at most.

        An answer that is an error of Redis is in the list as a `redis.ResponseError`.

        Raises:
            RedisError, OSError: there is no answer.
        """
        self.send_packed_command(self.pack_commands(commands), check_health=False)  # type: ignore[no-untyped-call, unused-ignore]  # as above
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(self.read_response())  # type: ignore[no-untyped-call, unused-ignore]  # as above
            except redis.ResponseError as error:
                answers.append(error)
        self._answered_at = clock.now()
        return answers

    def next_message(self) -> Any:
        """The next message of a subscribed connection; blocks until `deadline.until` at most.

        Raises:
            RedisError, OSError: there is none; after a `redis.TimeoutError` it may be called again.
        """
        self.deadline.received = 0
        return self.read_response(disconnect_on_error=False)  # type: ignore[no-untyped-call, unused-ignore]  # as above

    def is_stale(self) -> bool:
        """Whether the server has closed it, or has sent something that was not asked for.

        One that has answered a moment ago is not tested, which would take as long as to send a request.
        """
        sock = self._sock
        if not isinstance(sock, _DeadlineSocket):
            return True
        return clock.now() - self._answered_at > _FRESH_SECONDS and sock.is_stale()

    def close(self) -> None:
        """Close it; the server ends the connection."""
        with contextlib.suppress(OSError, ssl.SSLError):
            self.disconnect()  # type: ignore[no-untyped-call, unused-ignore]  # as above
