"""The signal that requests wait to be sent: kazoo's pair of sockets, without a system call for each request."""

from __future__ import annotations

import contextlib
import socket
from collections import deque

__all__ = ["RequestAnnouncer", "RequestSignal", "request_signals"]


def request_signals() -> tuple[RequestSignal, RequestAnnouncer]:
    """The two ends, as kazoo uses them: one of its thread, and one of the threads that make requests."""
    read_end, write_end = socket.socketpair()
    read_end.settimeout(0)
    write_end.settimeout(0)
    signal = RequestSignal(read_end)
    return signal, RequestAnnouncer(write_end, signal)


class RequestSignal:
    """The end of kazoo's thread: a count of requests, and a socket to wait for them.

    A byte is written to the socket only while the thread waits. The methods are those of a socket
    that kazoo calls.

    Attributes:
        waits: whether the thread waits, or is about to; it counts the requests again after it has set this.
        announced: an item for each request that kazoo has not taken.
    """

    def __init__(self, read_end: socket.socket) -> None:
        self.waits: bool = False
        self.announced: deque[bytes] = deque()
        self._socket = read_end

    def fileno(self) -> int:
        """The descriptor to poll; negative when it is closed."""
        return self._socket.fileno()

    def recv(self, _: int) -> bytes:
        """Take the announcement of one request.

        Raises:
            BlockingIOError: there is none.
        """
        try:
            return self.announced.popleft()
        except IndexError:
            raise BlockingIOError from None

    def clear(self) -> None:
        """Drop the bytes in the socket, which have ended the waiting."""
        with contextlib.suppress(BlockingIOError):
            while len(self._socket.recv(4096)) == 4096:
                pass

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class RequestAnnouncer:
    """The end of the threads that make requests; they may be interrupted at each line.

    Args:
        write_end: of the socket.
        signal: the other end.
    """

    def __init__(self, write_end: socket.socket, signal: RequestSignal) -> None:
        self._socket = write_end
        self._signal = signal

    def send(self, data: bytes) -> int:
        """Announce a request, which is in kazoo's queue already.

        Raises:
            OSError: the connection was closed.
        """
        if self._socket.fileno() < 0:
            raise OSError("the connection was closed")
        self._signal.announced.append(data)
        # Afterwards: the thread sets it and then counts, so at least one of the two notices.
        # It is not cleared here, since this thread may be interrupted before it has written.
        if self._signal.waits:
            with contextlib.suppress(BlockingIOError):  # enough bytes are there to wake it
                self._socket.send(data)
        return len(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
