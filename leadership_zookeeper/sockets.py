"""Sockets under kazoo: connected within a deadline, monitored, and closable from any thread.

A server answers the connect request with the session timeout that it grants: the requested one,
limited by its configuration. kazoo uses the granted timeout and does not return it, so it is read
from the bytes on the connection. Without it no candidate can lead, since nothing else bounds the
session. See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkSessions.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leadership_core.backend import WrongServer, clock

__all__ = [
    "MAX_ANSWER",
    "MAX_NAMES_ANSWER",
    "PING",
    "AnswerTooLong",
    "ConnectResponse",
    "ConnectResponseParser",
    "ConnectionMonitor",
    "PingCounter",
    "SocketHandle",
]

MAX_ANSWER = 2 * 1024**2
"""Bytes of an answer; a server takes requests of 1 MiB unless its jute.maxbuffer is changed."""
MAX_NAMES_ANSWER = 16 * 1024**2
"""Bytes of an answer with the names of a node's children; a million of 16 characters."""

_PING_XID = -2
PING = struct.pack("!iii", 8, _PING_XID, 11)  # as kazoo sends it: length, xid, type
_FRAME_HEAD = struct.Struct("!ii")  # length of the rest, xid of the request
_CONNECT_HEAD = struct.Struct("!iiiq")  # length of the answer, protocol version, timeout, session
_CONNECT_LENGTHS = range(20, 1024)  # of a connect response, with a password of any usual length

_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER with 0 seconds
_KEPT_HEARTBEATS = 20  # those of two ticks


class AnswerTooLong(ConnectionAbortedError):
    """An answer is longer than any valid answer to its request."""


@dataclass(frozen=True, slots=True)
class ConnectResponse:
    """A server's answer to a connect request.

    Attributes:
        timeout: the granted session timeout in seconds; 0.0 if the requested session has ended.
        session: its number; 0 if it has ended.
    """

    timeout: float
    session: int


class ConnectResponseParser:
    """Parses the connect response at the start of one connection's incoming bytes.

    Args:
        on_response: called with it, in the reading thread; not called if it is invalid.

    Attributes:
        complete: whether the response was parsed.
        is_invalid: whether no ZooKeeper server sends such a response.
    """

    def __init__(self, on_response: Callable[[ConnectResponse], None]) -> None:
        self._on_response = on_response
        self._received = bytearray()
        self.complete: bool = False
        self.is_invalid: bool = False

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        if self.complete:
            return
        self._received += data
        if len(self._received) < _CONNECT_HEAD.size:
            return
        self.complete = True
        length, _, milliseconds, session = _CONNECT_HEAD.unpack_from(self._received)
        # Session 0 without a timeout means that the requested session has ended.
        if length in _CONNECT_LENGTHS and (session != 0 or milliseconds <= 0):
            self._on_response(ConnectResponse(max(0, milliseconds) / 1000, session))
        else:
            self.is_invalid = True


class PingCounter:
    """Splits incoming bytes into answers, counts those to pings, and limits their length.

    Args:
        max_answer: returns the maximum length in bytes of the answer to the request with an xid.
    """

    def __init__(self, max_answer: Callable[[int], int] = lambda _: MAX_ANSWER) -> None:
        self._max_answer = max_answer
        self._head = bytearray()
        self._left = 0  # bytes of the current answer that are still missing

    def count_pings(self, data: bytes) -> int:
        """Take the next bytes, and return how many answers to pings begin in them.

        Raises:
            AnswerTooLong: an answer begins that is too long; the connection must not be read on.
        """
        found, at = 0, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(_FRAME_HEAD.size - len(self._head), len(data) - at)
                self._head += data[at : at + step]
                if len(self._head) == _FRAME_HEAD.size:
                    length, xid = _FRAME_HEAD.unpack(self._head)
                    self._head.clear()
                    self._left = max(0, length - 4)
                    found += xid == _PING_XID
                    if length > MAX_ANSWER and length > (limit := self._max_answer(xid)):
                        raise AnswerTooLong(
                            f"the answer is too long: {length} bytes, where {limit} are the most"
                        )
            at += step
        return found


class ConnectionMonitor:
    """Observed traffic of one connection: the connect response, heartbeats and their answers.

    Args:
        on_connected: called with the connect response.
        on_failed: called when the connection ends before the connect response, or breaks the
            protocol.
        max_answer: returns the maximum length in bytes of the answer to the request with an xid.
        allow_pings: whether kazoo's own pings are sent.

    Attributes:
        connecting_since: when it began to connect, on `clock.now`.
        last_received: when bytes were received last.
        last_heartbeat: when a heartbeat was sent last; connecting counts as one.
        heartbeat_pending: whether that heartbeat is not answered yet.
    """

    def __init__(
        self,
        on_connected: Callable[[ConnectResponse], None],
        on_failed: Callable[[OSError], None],
        max_answer: Callable[[int], int] = lambda _: MAX_ANSWER,
        *,
        allow_pings: bool,
    ) -> None:
        now = clock.now()
        self.connecting_since: float = now
        self.last_received: float = now
        self.last_heartbeat: float = now
        self.heartbeat_pending: bool = False
        self._answered: tuple[tuple[float, float], ...] = ()  # heartbeats: sent at, answered at
        self._connect_response = ConnectResponseParser(on_connected)
        self._pings = PingCounter(max_answer)
        self._on_failed = on_failed
        self._allow_pings = allow_pings

    @property
    def responded(self) -> bool:
        """Whether the server has answered the connect request."""
        return self._connect_response.complete

    def receive(self, read: Callable[[], bytes]) -> bytes:
        """Read from the socket, and inspect what was read."""
        try:
            data = read()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            raise
        except OSError as error:
            if not self.responded:
                self._on_failed(error)
            raise
        if not data:
            if not self.responded:
                self._on_failed(ConnectionResetError("it closes connections without an answer"))
            return data
        self.last_received = clock.now()
        self._connect_response.feed(data)
        if self._connect_response.is_invalid:
            # kazoo would take it for a session, whose timeout would be unknown.
            problem = WrongServer(
                "what answers is no ZooKeeper; check the port (ZooKeeper 3.5 or later is needed)"
            )
            self._on_failed(problem)
            raise problem
        try:
            pings = self._pings.count_pings(data)
        except AnswerTooLong as error:
            if self.responded:
                self._on_failed(error)
                raise
            problem = WrongServer(f"what answers is no ZooKeeper ({error}); check the port")
            self._on_failed(problem)
            raise problem from error
        if pings and self.heartbeat_pending:
            self.heartbeat_pending = False
            answered = (self.last_heartbeat, self.last_received)
            self._answered = (*self._answered[-_KEPT_HEARTBEATS:], answered)
        return data

    def record_heartbeat(self) -> None:
        """Record that a heartbeat is sent now."""
        self.last_heartbeat, self.heartbeat_pending = clock.now(), True

    def last_confirmed_heartbeat(self, delay: float) -> float:
        """When the latest heartbeat was sent that ZooKeeper's leader has certainly been sent.

        An answered heartbeat has reached its server, which forwards it to the leader later.
        Connecting goes through the leader at once.

        Args:
            delay: seconds within which a server certainly forwards a heartbeat.
        """
        answered_by = clock.now() - delay
        return max(
            (sent for sent, answered in self._answered if answered <= answered_by),
            default=self.connecting_since,
        )

    def suppresses_ping(self, data: Any) -> bool:
        """Whether the data are a ping of kazoo's that must not be sent."""
        return not self._allow_pings and len(data) == len(PING) and bytes(data) == PING


class SocketHandle:
    """The current socket of one client, which any thread can abort or close.

    Attributes:
        closed: set once no connection may begin any more.
    """

    def __init__(self) -> None:
        self.closed: threading.Event = threading.Event()
        self._socket: socket.socket | None = None
        self._pid = os.getpid()

    def attach(self, sock: socket.socket) -> None:
        """Make this the current socket."""
        self._socket = sock
        if self.closed.is_set():
            self.abort()

    def abort(self) -> None:
        """Break the connection, and discard unsent data; waits for nothing."""
        sock = self._socket
        if sock is None or os.getpid() != self._pid:
            return  # a forked child shares the socket: a shutdown would cut off its parent
        with contextlib.suppress(OSError):
            # Unsent requests could otherwise be delivered long after their callers have given up.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            # Not SSLSocket.shutdown, which takes the TLS state away from the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Break the connection, and prevent any other; waits for nothing."""
        # The flag first: `attach` checks it after it has set the socket.
        self.closed.set()
        self.abort()
