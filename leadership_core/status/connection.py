"""One connection of a client: what was received, what is to be sent, and until when."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from enum import Enum, auto
from selectors import EVENT_READ, EVENT_WRITE

from .requests import LONGEST_HEAD, BadRequest, Request, take_request
from .responses import Response, text_response

__all__ = ["Connection", "Phase"]

_REQUEST_SECONDS = 10.0  # for all of a request, and for all of an answer
_IDLE_SECONDS = 30.0  # between two requests
_STALLED_SECONDS = 20.0  # for what was sent of a stream to be taken
_LINGER_SECONDS = 1.0  # for the client to take the last answer
_MOST_DISCARDED = 4 << 20  # bytes that a client may still send while it takes the last answer
_CHUNK = 65536


class Phase(Enum):
    """What a connection is doing."""

    READING = auto()  # a request
    WAITING = auto()  # for an answer that another thread makes
    ANSWERING = auto()  # sends an answer
    STREAMING = auto()  # sends events, without an end
    LINGERING = auto()  # has sent the last answer, and discards what still comes
    CLOSED = auto()


class Connection:
    """A connection, driven by the loop of the server, in its thread alone.

    A client that is slow is cut off at a deadline for the whole of each step, which no single byte
    postpones.

    Args:
        sock: the accepted socket, non-blocking.
        now: the time of the loop's clock.
        answer: called with a request, a second request only once the first is answered; returns
            the response, or None if it will call `respond` later.

    Attributes:
        phase: what it is doing.
        deadline: the time at which it is cut off.
        since: the time since which it has been idle, if it is.
    """

    def __init__(
        self,
        sock: socket.socket,
        now: float,
        answer: Callable[[Connection, Request], Response | None],
    ) -> None:
        self.sock = sock
        self.phase: Phase = Phase.READING
        self.deadline: float = now + _REQUEST_SECONDS
        self.since: float = now
        self._answer = answer
        self._received = bytearray()
        self._to_send = bytearray()
        self._request: Request | None = None
        self._keep_alive = False
        self._ended = False  # the client sends no more
        self._discarded = 0

    @property
    def interest(self) -> int:
        """The events of the selector that it waits for, or 0."""
        if self.phase is Phase.STREAMING and self._to_send:
            return EVENT_READ | EVENT_WRITE
        if self.phase is Phase.ANSWERING:
            return EVENT_WRITE
        # What comes while an answer is made, stays in the socket until that was sent.
        return 0 if self.phase is Phase.WAITING else EVENT_READ

    @property
    def is_closed(self) -> bool:
        """Whether its socket is closed."""
        return self.phase is Phase.CLOSED

    @property
    def is_idle(self) -> bool:
        """Whether it has sent nothing of a request, and is owed nothing."""
        return self.phase is Phase.READING and not self._received

    @property
    def drained(self) -> bool:
        """Whether everything was sent."""
        return not self._to_send

    # -- receiving -------------------------------------------------------------------------

    def on_readable(self, now: float) -> None:
        """Receive, and answer if a request is complete."""
        try:
            data = self.sock.recv(_CHUNK if self.phase is Phase.LINGERING else LONGEST_HEAD)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if self.phase is not Phase.READING:
            self._discarded += len(data)
            if not data or self._discarded > _MOST_DISCARDED:
                self.close()
            return
        if not data:
            self._ended = True
            if not self._received:
                self.close()
                return
        elif not self._received:
            self.deadline = now + _REQUEST_SECONDS
        self._received += data
        self.proceed(now)

    def proceed(self, now: float) -> None:
        """Answer the next request, if it is complete."""
        try:
            request = take_request(self._received)
        except BadRequest as error:
            self._request, self._keep_alive = None, False
            self._received.clear()
            self.respond(text_response(error.status, error.reason), now)
            return
        if request is None:
            if self._ended:
                self.close()
            return
        self._request, self._keep_alive = request, request.keep_alive
        self.phase, self.deadline = Phase.WAITING, now + _REQUEST_SECONDS
        response = self._answer(self, request)
        if response is not None:
            self.respond(response, now)

    # -- sending ---------------------------------------------------------------------------

    def respond(self, response: Response, now: float, *, last: bool = False) -> None:
        """Send the response to the present request.

        Args:
            response: without a body it begins a stream.
            now: the time.
            last: close the connection afterwards in any case.
        """
        streams = response.body is None
        self._keep_alive = self._keep_alive and not last and not streams
        self._to_send += response.encode(self._request, keep_alive=self._keep_alive)
        is_head = self._request is not None and self._request.method == "HEAD"
        if streams and not is_head:
            self.phase, self.deadline = Phase.STREAMING, now + _STALLED_SECONDS
            self._received.clear()
        else:
            self.phase, self.deadline = Phase.ANSWERING, now + _REQUEST_SECONDS
        self.on_writable(now)

    def stream(self, data: bytes, now: float) -> None:
        """Send more of the stream; call it only when what was sent before is drained."""
        self._to_send += data
        self.deadline = now + _STALLED_SECONDS
        self.on_writable(now)

    def on_writable(self, now: float) -> None:
        """Send what is left to send."""
        try:
            while self._to_send:
                del self._to_send[: self.sock.send(self._to_send[:_CHUNK])]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if self.phase is Phase.STREAMING:
            self.deadline = float("inf")
        elif self._keep_alive:
            # The next request may have come already; the loop takes it in its next turn.
            self.phase, self.since = Phase.READING, now
            self.deadline = now + (_REQUEST_SECONDS if self._received else _IDLE_SECONDS)
        else:
            self.linger(now)

    @property
    def has_next(self) -> bool:
        """Whether more was received than the request that is answered."""
        return self.phase is Phase.READING and bool(self._received)

    # -- the end ---------------------------------------------------------------------------

    def linger(self, now: float) -> None:
        """Say that nothing follows, and wait a moment for the client to take the last answer.

        If a socket is closed while something that was received is unread, the system tells the client
        that the connection broke, and the client drops the answer that it has not read yet.
        """
        self.phase, self.deadline = Phase.LINGERING, now + _LINGER_SECONDS
        self._received.clear()
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
        else:
            if self._ended:
                self.close()

    def close(self) -> None:
        """Close the socket."""
        self.phase = Phase.CLOSED
        with contextlib.suppress(OSError):
            self.sock.close()
