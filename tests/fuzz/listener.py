"""Base of the servers of these tests: a port of loopback, and a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

__all__ = ["Listener", "most_within", "reset"]


class Listener(ABC):
    """Accepts connections until it is closed.

    Attributes:
        port: of loopback.
        connected: the times at which connections were accepted.
        ended: is set when it is closed.
    """

    def __init__(self) -> None:
        self.connected: list[float] = []
        self.ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="hostile", daemon=True)]
        self._threads[0].start()

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Serve one connection, in a thread of its own; it is closed afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5.0)

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connected.append(time.monotonic())
            self._open.add(connection)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.serve(connection)
        except (OSError, ValueError, struct.error):
            pass  # the client has given up
        finally:
            self._open.discard(connection)


def most_within(times: Sequence[float], seconds: float) -> int:
    """The largest number of these times within a span of that length."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def reset(connection: socket.socket) -> None:
    """Let its end be a reset, as after a crash of the server."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
