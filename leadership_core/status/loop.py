"""The loop of the status server: one thread that serves a bounded number of connections."""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from ..backend.event_count import Flag
from ..backend.threads import start_daemon
from .connection import Connection
from .requests import Request
from .responses import Response, text_response

__all__ = ["Loop"]

log: logging.Logger = logging.getLogger("leadership.status")

_MOST_CONNECTIONS = 64
_MOST_REFUSED = (
    16  # connections beyond it that get that answer; all further ones are closed at once
)
_IDLE_SECONDS = 1.0  # after which an idle connection makes room for a new one
_SEND_BUFFER = 65536  # bytes that the system keeps for a client that is slow
_VANISHED = 20_000  # milliseconds without an acknowledgement
_PAUSE_SECONDS = 0.5  # after an error of the loop, or without a free descriptor
_LONGEST = 60.0  # seconds of one wait
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Loop:
    """Accepts connections, and calls back for each request, all in one thread of its own.

    Args:
        listener: a listening socket.
        answer: called with each request; see `Connection`.
        tick: called before each wait; returns the seconds until it wants to be called again.

    Attributes:
        connections: those that are open; for the thread of the loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Connection, Request], Response | None],
        tick: Callable[[float], float],
    ) -> None:
        self.connections: set[Connection] = set()
        self._listener = listener
        self._answer = answer
        self._tick = tick
        self._posted: deque[Callable[[], object]] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._closing = False
        self._ended = Flag()
        self._accept_at = 0.0  # until then no connection is accepted
        for sock in (listener, self._wake_read, self._wake_write):
            sock.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._interests: dict[socket.socket, int] = {}

    def start(self) -> None:
        """Start the thread.

        Raises:
            NotApplied: no thread can be started now.
        """
        start_daemon(self._run, "leadership-status")

    # -- from other threads ----------------------------------------------------------------

    def post(self, call: Callable[[], object]) -> None:
        """Make the call in the thread of the loop; from any thread, never blocks."""
        self._posted.append(call)
        self.wake()

    def close(self, timeout: float) -> bool:
        """Close all connections and end the thread; False if that takes longer than `timeout`."""
        self._closing = True
        self.wake()
        return self._ended.wait(timeout)

    def wake(self) -> None:
        """Let the loop call `tick` soon; from any thread, and from a signal handler."""
        with contextlib.suppress(OSError):  # it is full, which wakes as well; or closed
            self._wake_write.send(b"\0")

    def close_sockets(self) -> None:
        """Close every descriptor; in the thread of the loop, or where there is none."""
        for connection in list(self.connections):
            connection.close()
        for sock in (self._listener, self._wake_read, self._wake_write):
            sock.close()
        self._selector.close()

    def after_fork_in_child(self) -> None:
        """Close the sockets, which are the parent's: its port must not outlive it in a child."""
        self.close_sockets()

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._turn()
                except Exception:
                    log.exception("status.failed")
                    time.sleep(_PAUSE_SECONDS)
        finally:
            self.close_sockets()
            self._ended.set()

    def _turn(self) -> None:
        now = time.monotonic()
        wait = self._guarded_tick(now)
        self._update(now)
        deadlines = [connection.deadline for connection in self.connections]
        until = min([now + wait, now + _LONGEST, *deadlines])
        if any(connection.has_next for connection in self.connections):
            until = now
        if now < self._accept_at:
            until = min(until, self._accept_at)
        ready = self._selector.select(max(0.0, until - now))
        now = time.monotonic()
        for key, events in ready:
            if key.data is not None:
                self._guarded(key.data, events, now)
            elif key.fileobj is self._listener:
                self._accept(now)
            else:
                with contextlib.suppress(BlockingIOError, InterruptedError):
                    self._wake_read.recv(4096)
        for connection in [one for one in self.connections if one.has_next]:
            self._guarded(connection, 0, now)  # one request a turn: no client keeps others waiting
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.close()
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def _guarded_tick(self, now: float) -> float:
        try:
            return self._tick(now)
        except Exception:
            log.exception("status.failed")
            return _PAUSE_SECONDS

    def _guarded(self, connection: Connection, events: int, now: float) -> None:
        """Drive a connection; an error in it closes it, and no other one."""
        try:
            if connection.is_closed:
                return
            if events & selectors.EVENT_WRITE:
                connection.on_writable(now)
            if events & selectors.EVENT_READ and not connection.is_closed:
                connection.on_readable(now)
            if not events:
                connection.proceed(now)
        except Exception:
            log.exception("status.request_failed")
            connection.close()

    def _update(self, now: float) -> None:
        """Let the selector watch what each connection waits for now."""
        wanted = {self._wake_read: (selectors.EVENT_READ, None)} | {
            one.sock: (one.interest, one)
            for one in self.connections
            if not one.is_closed and one.interest
        }
        if now >= self._accept_at:
            wanted[self._listener] = (selectors.EVENT_READ, None)
        self.connections = {one for one in self.connections if not one.is_closed}
        for sock in [one for one in self._interests if one not in wanted]:
            del self._interests[sock]
            with contextlib.suppress(KeyError, ValueError, OSError):  # closed: forgotten already
                self._selector.unregister(sock)
        for sock, (interest, data) in wanted.items():
            before = self._interests.get(sock)
            if before is None:
                self._selector.register(sock, interest, data)
            elif before != interest:
                self._selector.modify(sock, interest, data)
            self._interests[sock] = interest

    # -- accepting -------------------------------------------------------------------------

    def _accept(self, now: float) -> None:
        for _ in range(_MOST_REFUSED):  # then the others have a turn
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _NO_RESOURCES:
                    raise
                # It would be ready at once, again and again, until a descriptor is free.
                self._accept_at = now + _PAUSE_SECONDS
                return
            try:
                sock.settimeout(0)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
                if hasattr(socket, "TCP_USER_TIMEOUT"):  # a client that has vanished without a word
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED)
            except OSError:  # it is gone already
                sock.close()
                continue
            self._admit(Connection(sock, now, self._answer), now)

    def _admit(self, connection: Connection, now: float) -> None:
        count = len([one for one in self.connections if not one.is_closed])
        if count >= _MOST_CONNECTIONS:
            idle = [
                one for one in self.connections if one.is_idle and one.since <= now - _IDLE_SECONDS
            ]
            if idle:  # a probe must not wait because of clients that ask for nothing
                min(idle, key=lambda one: one.since).close()
            elif count < _MOST_CONNECTIONS + _MOST_REFUSED:
                self.connections.add(connection)
                busy = text_response(503, "too many connections", Retry_After="5")
                connection.respond(busy, now, last=True)
                return
            else:
                connection.close()
                return
        self.connections.add(connection)
