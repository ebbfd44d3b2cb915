"""Sockets that keep to the deadline of the request they carry, and that others can cut.

The timeout of a socket starts anew with every byte, so a server that drips its answer holds a
caller for as long as it likes. Here every single read and write gets what is left of the
request's time. A long poll sits in such a read; shutting the socket down ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Any

from leadership_core import clock
from leadership_core.addresses import Address

__all__ = [
    "LONGEST",
    "LONGEST_LIST",
    "DeadlineSocket",
    "DeadlineTLSSocket",
    "Line",
    "adapt",
    "dial",
]

LONGEST = 2 * 1024**2
"""Bytes of an answer about one key, a session or a transaction. A value has 512 KiB at the most."""
LONGEST_LIST = 64 * 1024**2
"""Bytes of a list."""

# A long poll is silent for its whole wait. These tell a dead peer from a quiet one; where a
# platform lacks one, the read limit of the poll does it, only later.
_KEEPALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]


class Line:
    """One thread's way to the agents: its deadline, and the socket that it is using.

    Attributes:
        until: when the request under way must be over, on `clock.now`.
        connect_until: when its connection must stand.
        sent: whether anything of it may have reached an agent.
        received: bytes of its answer so far.
        fresh: whether its connection was made for it.
        longest: bytes that its answer may have.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.connect_until = 0.0
        self.sent = False
        self.received = 0
        self.fresh = False
        self.longest = LONGEST
        self._socket: socket.socket | None = None
        self._cut = False
        self._pid = os.getpid()

    @property
    def is_cut(self) -> bool:
        return self._cut

    def carry(self, sock: socket.socket) -> None:
        """Say which socket `cut` has to shut down."""
        self._socket = sock

    def arm(self, sock: socket.socket) -> None:
        """Give the next operation of a socket what is left of the request's time."""
        remaining = self.until - clock.now()
        if self._cut:
            raise ConnectionAbortedError("the connection was cut")
        if remaining <= 0:
            raise TimeoutError("the time for the request is over")
        sock.settimeout(remaining)

    def count(self, received: int) -> int:
        """Note that so many bytes have come, and return them."""
        self.received += received
        if self.received > self.longest:
            raise OSError(f"the answer is longer than {self.longest // 1024**2} MiB")
        return received

    def cut(self) -> None:
        """End what is under way, and let nothing else begin; from any thread."""
        # The flag first: a socket that is opened from now on looks at it before it waits.
        self._cut = True
        sock = self._socket
        if sock is None or os.getpid() != self._pid:
            return  # a forked child has a copy of it: shutting that down cuts off the parent
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which takes the TLS state away from the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class DeadlineSocket(socket.socket):
    """A TCP socket that belongs to a line."""

    line: Line

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.line.arm(self)
        return self.line.count(super().recv_into(buffer, nbytes, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.line.arm(self)
        self.line.sent = True
        super().sendall(data, flags)


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same under TLS; its handshake keeps to the timeout of the socket it was made from."""

    line: Line

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self.line.arm(self)
        return self.line.count(super().recv_into(buffer, nbytes, flags) or 0)

    def send(self, data: Any, flags: int = 0) -> int:
        self.line.arm(self)
        self.line.sent = True
        return super().send(data, flags)


def adapt(context: ssl.SSLContext) -> None:
    """Let a context make sockets of this kind."""
    context.sslsocket_class = DeadlineTLSSocket


def dial(line: Line, address: Address) -> DeadlineSocket:
    """Connect to an address within the time of the line.

    Raises:
        OSError: it could not be connected to in time.
    """
    remaining = line.connect_until - clock.now()
    if remaining <= 0 or line.is_cut:
        raise TimeoutError("no time left to connect")
    sock = DeadlineSocket(address.family, socket.SOCK_STREAM)
    sock.line = line
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in _KEEPALIVE:
            sock.setsockopt(*option)
        sock.settimeout(remaining)
        sock.connect(address.sockaddr)
        sock.settimeout(max(0.001, line.connect_until - clock.now()))  # for the TLS handshake
    except BaseException:
        sock.close()
        raise
    line.carry(sock)
    return sock
