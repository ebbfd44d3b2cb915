"""The sockets under kazoo: opened in time, looked through, and cut when we say so."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from leadership_core import clock
from leadership_core.addresses import Address
from leadership_core.failures import WrongServer

from .frames import LONGEST, Frames, TooLong
from .grant import Grant, Greeting

__all__ = ["PlainWire", "TLSWire", "Tap", "Way", "adapt", "dial"]

_PING = struct.pack("!iii", 8, -2, 11)  # as kazoo sends it: length, xid, type
_CLOSE = struct.pack("!iii", 8, 2**31 - 1, -11)
_DISCARD = struct.pack("ii", 1, 0)
_PIECE = 256 * 1024  # bytes that are read at once
_TOUCHES = 20  # that are remembered: those of two ticks

# A watch is silent for as long as nothing happens. These tell a dead peer from a quiet one.
_KEEPALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]


class Tap:
    """What is known of the traffic of one connection.

    Attributes:
        since: when it began to connect, on `clock.now`.
        heard: when something came in last.
        touched: when a touch, which keeps the session alive, was sent last; to connect is one.
        touching: whether the answer to that one has not come yet.

    Args:
        tell: called with what the server grants when it is connected to.
        broken: called when the connection ends before that.
        longest: says for the number of a request how many bytes its answer may have.
        pings: whether kazoo may keep the session alive by itself.
    """

    def __init__(
        self,
        tell: Callable[[Grant], None],
        broken: Callable[[OSError], None],
        longest: Callable[[int], int] = lambda _: LONGEST,
        *,
        pings: bool,
    ) -> None:
        self.since = self.heard = self.touched = clock.now()
        self.touching = False
        self._answered: tuple[tuple[float, float], ...] = ()  # touches: when sent, when answered
        self._greeting = Greeting(tell)
        self._frames = Frames(longest)
        self._broken = broken
        self._pings = pings

    @property
    def greeted(self) -> bool:
        """Whether the server has answered yet."""
        return self._greeting.complete

    def pass_on(self, receive: Callable[[], bytes]) -> bytes:
        """Receive, and look at what comes in."""
        try:
            data = receive()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            raise
        except OSError as error:
            self._end(error)
            raise
        if data:
            self.heard = clock.now()
            self._greeting.pass_by(data)
            if self._greeting.is_nonsense:
                # kazoo would take it for a session, whose timeout nobody knows.
                problem = WrongServer(
                    "what answers is no ZooKeeper; check the port (ZooKeeper 3.5 or later is needed)"
                )
                self._broken(problem)
                raise problem
            try:
                pings = self._frames.pings_in(data)
            except TooLong as error:
                if not self._greeting.complete:
                    problem = WrongServer(f"what answers is no ZooKeeper ({error}); check the port")
                    self._broken(problem)
                    raise problem from error
                self._broken(error)
                raise
            if pings and self.touching:
                self.touching = False
                self._answered = (*self._answered[-_TOUCHES:], (self.touched, self.heard))
        else:
            self._end(ConnectionResetError("it closes connections without an answer"))
        return data

    def _end(self, error: OSError) -> None:
        if not self.greeted:
            self._broken(error)

    def note_touch(self) -> None:
        """One goes out now."""
        self.touched, self.touching = clock.now(), True

    def told(self, after: float) -> float:
        """When the latest touch was sent that a server has told ZooKeeper's leader of.

        Not only sent: an answer that has come proves that the server had it by then. To connect
        goes through the leader at once.

        Args:
            after: seconds in which a server surely tells.
        """
        by = clock.now() - after
        return max(
            (sent for sent, answered in self._answered if answered <= by), default=self.since
        )

    def swallows(self, data: Any) -> bool:
        """Whether this is not to be sent."""
        return not self._pings and len(data) == len(_PING) and bytes(data) == _PING


class PlainWire(socket.socket):
    """A TCP socket that is looked through."""

    tap: Tap

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        # kazoo asks for as much as the head of an answer promises, and Python gets the memory first.
        size = min(bufsize, _PIECE)
        return self.tap.pass_on(lambda: super(PlainWire, self).recv(size, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return len(data) if self.tap.swallows(data) else super().send(data, flags)

    def touch(self) -> None:
        """Keep the session alive."""
        super().send(_PING)

    def end_session(self) -> None:
        """End the session, and wait for no answer."""
        super().send(_CLOSE)


class TLSWire(ssl.SSLSocket):
    """The same under TLS."""

    tap: Tap

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        size = min(buflen, _PIECE)
        return self.tap.pass_on(lambda: super(TLSWire, self).recv(size, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return len(data) if self.tap.swallows(data) else super().send(data, flags)

    def touch(self) -> None:
        """See `PlainWire`."""
        super().send(_PING)

    def end_session(self) -> None:
        """See `PlainWire`."""
        super().send(_CLOSE)


class Way:
    """A client's way to the servers: the socket of now, which others can break or cut off."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._socket: socket.socket | None = None
        self._pid = os.getpid()

    def carry(self, sock: socket.socket) -> None:
        """Say which socket is in use."""
        self._socket = sock
        if self.ended.is_set():
            self.drop()

    def drop(self) -> None:
        """Break the connection, and discard what has not left yet; from any thread."""
        sock = self._socket
        if sock is None or os.getpid() != self._pid:
            return  # a forked child has a copy of it: shutting that down cuts off the parent
        with contextlib.suppress(OSError):
            # What waits for a way out would be delivered when nobody expects it any more.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            # Not SSLSocket.shutdown, which takes the TLS state away from the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break it and let no other one begin; from any thread."""
        # The flag first: whoever carries a socket from now on looks at it.
        self.ended.set()
        self.drop()


def adapt(context: ssl.SSLContext) -> None:
    """Let a context make sockets of this kind."""
    context.sslsocket_class = TLSWire


def dial(
    way: Way, address: Address, until: float, tap: Tap, tls: ssl.SSLContext | None
) -> socket.socket:
    """Connect to an address.

    Args:
        way: what carries the connection, and can cut it.
        address: of a server.
        until: when to give up, on `clock.now`.
        tap: what is known of the connection.
        tls: None for a plain one.

    Raises:
        OSError: it could not be connected to in time.
    """
    remaining = until - clock.now()
    if remaining <= 0 or way.ended.is_set():
        raise TimeoutError("no time left to connect")
    sock = PlainWire(address.family, socket.SOCK_STREAM)
    sock.tap = tap
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in _KEEPALIVE:
            sock.setsockopt(*option)
        way.carry(sock)
        sock.settimeout(remaining)
        sock.connect(address.sockaddr)
        return sock if tls is None else _encrypt(way, sock, address.name, until, tls)
    except BaseException:
        sock.close()
        raise


def _encrypt(
    way: Way, sock: PlainWire, name: str, until: float, context: ssl.SSLContext
) -> TLSWire:
    sock.settimeout(max(0.001, until - clock.now()))
    wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    assert isinstance(wrapped, TLSWire)
    wrapped.tap = sock.tap
    way.carry(wrapped)
    try:
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped
