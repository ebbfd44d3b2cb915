"""Sockets under kazoo that read ahead, send requests together, and tell a `ConnectionMonitor` what they read."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

from leadership_core.backend import Address, clock

from .sockets import PING, ConnectionMonitor, SocketHandle

__all__ = ["MonitoredSocket", "MonitoredTLSSocket", "connect"]

_CLOSE = struct.pack("!iii", 8, 2**31 - 1, -11)
_LENGTH = struct.Struct("!i")  # of an answer
_MAX_READ = 256 * 1024  # bytes that are read at once
_READ_AHEAD = 16 * 1024  # bytes that are read at once, if there are so many

# A watch is silent as long as nothing changes: keepalive distinguishes a dead peer from a quiet one.
_KEEPALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]

if TYPE_CHECKING:
    _SocketBase = socket.socket
else:
    _SocketBase = object


class _Monitoring(_SocketBase):
    """What both kinds of sockets add: a `ConnectionMonitor`, heartbeats, the end of the session."""

    monitor: ConnectionMonitor
    _ahead: bytes = b""  # what was read, from `_at` on
    _at: int = 0
    _unsent: bytes = b""

    def recv(self, bufsize: int = 1024, flags: int = 0) -> bytes:  # socket's
        if self._at == len(self._ahead):
            # kazoo asks for as many bytes as an answer's head announces, and Python allocates them all.
            self.read_ahead(min(bufsize, _MAX_READ))
        piece = self._ahead[self._at : self._at + bufsize]
        self._at += len(piece)
        return piece

    def read_ahead(self, size: int = 0) -> None:
        """Read what is there; the bytes before have been taken.

        Args:
            size: bytes at most, if it is more than usual.
        """
        self._ahead, self._at = b"", 0
        size = max(_READ_AHEAD, size)
        self._ahead = self.monitor.receive(lambda: super(_Monitoring, self).recv(size))

    def take_frame(self) -> bytes | None:
        """Take the next answer, without its length, if it was read as a whole."""
        begin, ahead = self._at + _LENGTH.size, self._ahead
        if len(ahead) < begin:
            return None
        end = begin + _LENGTH.unpack_from(ahead, self._at)[0]
        if not begin <= end <= len(ahead):
            return None
        self._at = end
        return ahead[begin:end]

    def pending(self) -> int:
        """Bytes that were read from the connection, and not by kazoo; `poll` does not report them."""
        return len(self._ahead) - self._at

    def send(self, data: Any, flags: int = 0) -> int:
        # kazoo sends each request by itself. Those that wait together are sent by one `flush`.
        if not self.monitor.suppresses_ping(data):
            self._unsent += data
        return len(data)

    @property
    def unsent(self) -> int:
        """Bytes that `send` has taken and `flush` has not sent."""
        return len(self._unsent)

    def flush(self) -> bool:
        """Send what `send` has taken; whether the connection has taken all of it."""
        try:
            while self._unsent:
                self._unsent = self._unsent[super().send(self._unsent) :]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return False
        return True

    def send_heartbeat(self) -> None:
        """Send a ping, which extends the session."""
        super().send(PING)

    def send_close(self) -> None:
        """Ask the server to end the session; does not wait for the answer."""
        super().send(_CLOSE)


class MonitoredSocket(_Monitoring, socket.socket):
    """A TCP socket with a monitor."""


class MonitoredTLSSocket(_Monitoring, ssl.SSLSocket):
    """A TLS socket with a monitor."""

    def pending(self) -> int:
        """Bytes as above, and those that TLS has decrypted already."""
        return super().pending() + ssl.SSLSocket.pending(self)


def connect(
    handle: SocketHandle,
    address: Address,
    until: float,
    monitor: ConnectionMonitor,
    tls: ssl.SSLContext | None,
) -> socket.socket:
    """Connect to an address.

    Args:
        handle: gets the socket, and can abort the attempt.
        address: of a server.
        until: deadline on `clock.now`.
        monitor: of the new connection.
        tls: None for a plain connection; see `tls.use_monitored_sockets`.

    Raises:
        OSError: there was no connection in time.
    """
    remaining = until - clock.now()
    if remaining <= 0 or handle.closed.is_set():
        raise TimeoutError("no time left to connect")
    sock: MonitoredSocket | MonitoredTLSSocket = MonitoredSocket(address.family, socket.SOCK_STREAM)
    sock.monitor = monitor
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in _KEEPALIVE:
            sock.setsockopt(*option)
        handle.attach(sock)
        sock.settimeout(remaining)
        sock.connect(address.sockaddr)
        if tls is None:
            return sock
        sock.settimeout(max(0.001, until - clock.now()))
        wrapped = tls.wrap_socket(sock, server_hostname=address.name, do_handshake_on_connect=False)
        assert isinstance(wrapped, MonitoredTLSSocket)
        sock = wrapped
        sock.monitor = monitor
        handle.attach(sock)
        sock.do_handshake()
        return sock
    except BaseException:
        sock.close()
        raise
