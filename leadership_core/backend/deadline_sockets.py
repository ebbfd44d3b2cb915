"""TCP and TLS sockets with a total deadline for a request, which any thread can abort.

The timeout of a plain socket applies to each read, so a server that sends its answer byte by byte
blocks a caller without limit. Here each read and write gets the rest of the request's time. A
long poll waits in such a read; shutting the socket down ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Any

from . import clock
from .net import Address

__all__ = [
    "DeadlineSocket",
    "DeadlineTLSSocket",
    "RequestDeadline",
    "connect_with_deadline",
    "use_deadline_sockets",
]

# A long poll receives nothing for its whole wait. TCP keepalive detects a dead peer in that time;
# where a platform lacks an option, the deadline of the poll does, later.
_KEEPALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]

_ROUNDING = 0.001  # seconds


class RequestDeadline:
    """The deadline, the limits and the progress of the request that a connection carries.

    One thread uses it; any thread may `abort` it.

    Attributes:
        until: when the request must have ended, on `clock.now`.
        connect_until: when its connection must be established, on `clock.now`.
        sent: whether any byte of it may have reached the server.
        received: bytes of its answer so far.
        fresh: whether its connection was made for it.
        max_size: bytes that its answer may have.
    """

    def __init__(self) -> None:
        self.until: float = 0.0
        self.connect_until: float = 0.0
        self.sent = False
        self.received: int = 0
        self.fresh = False
        self.max_size: float = 0
        self._socket: socket.socket | None = None
        self._aborted = False
        self._pid = os.getpid()

    @property
    def is_aborted(self) -> bool:
        return self._aborted

    @property
    def is_unanswered(self) -> bool:
        """Whether the request was the first one on its connection, and no byte has come back."""
        return self.sent and self.fresh and not self.received

    def attach(self, sock: socket.socket) -> None:
        """Set the socket that `abort` shuts down."""
        self._socket = sock

    def set_timeout(self, sock: socket.socket) -> None:
        """Set the timeout of the socket's next operation to the rest of the request's time.

        Raises:
            ConnectionAbortedError: `abort` was called.
            TimeoutError: no time is left.
        """
        remaining = self.until - clock.now()
        if self._aborted:
            raise ConnectionAbortedError("the connection was aborted")
        if remaining <= 0:
            raise TimeoutError("the request has timed out")
        # A new timeout is a system call, and another thread may take the interpreter meanwhile. The
        # operation before has usually set one that is right to the millisecond.
        present = sock.gettimeout()
        if not present or not remaining - _ROUNDING <= present <= remaining + _ROUNDING:
            sock.settimeout(remaining)

    def count(self, received: int) -> int:
        """Add to the bytes received, and return the argument; raises OSError above `max_size`."""
        self.received += received
        if self.received > self.max_size:
            raise OSError(f"the answer is longer than {self.max_size / 1024**2:.0f} MiB")
        return received

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


class DeadlineSocket(socket.socket):
    """A TCP socket whose reads and writes keep to a `RequestDeadline`."""

    deadline: RequestDeadline

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.deadline.set_timeout(self)
        return self.deadline.count(super().recv_into(buffer, nbytes, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.deadline.set_timeout(self)
        self.deadline.sent = True
        super().sendall(data, flags)


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same with TLS; its handshake keeps to the timeout of the socket that it wraps."""

    deadline: RequestDeadline

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self.deadline.set_timeout(self)
        return self.deadline.count(super().recv_into(buffer, nbytes, flags) or 0)

    def send(self, data: Any, flags: int = 0, **options: Any) -> int:
        # gevent's own class, which this one inherits from where gevent has patched, gives a timeout.
        self.deadline.set_timeout(self)
        self.deadline.sent = True
        return super().send(data, flags, **options)


def use_deadline_sockets(context: ssl.SSLContext) -> None:
    """Let an SSL context make sockets of the class `DeadlineTLSSocket`."""
    context.sslsocket_class = DeadlineTLSSocket


def connect_with_deadline(deadline: RequestDeadline, address: Address) -> DeadlineSocket:
    """Connect to an address; blocks until `deadline.connect_until` at most.

    Raises:
        OSError: it could not be connected to in time.
    """
    remaining = deadline.connect_until - clock.now()
    if remaining <= 0 or deadline.is_aborted:
        raise TimeoutError("no time left to connect")
    sock = DeadlineSocket(address.family, socket.SOCK_STREAM)
    sock.deadline = deadline
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in _KEEPALIVE:
            sock.setsockopt(*option)
        sock.settimeout(remaining)
        sock.connect(address.sockaddr)
        # For the TLS handshake, which has no deadline of its own.
        sock.settimeout(max(0.001, deadline.connect_until - clock.now()))
    except BaseException:
        sock.close()
        raise
    deadline.attach(sock)
    return sock
