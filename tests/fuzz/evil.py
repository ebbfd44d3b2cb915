"""A server that answers as badly as it is told, and counts what it is asked.

It is no Consul and proves nothing about one: it is where garbage comes from.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

__all__ = ["EvilServer", "Mind", "Request", "Wire", "answer"]


@dataclass(frozen=True)
class Request:
    """What was asked, and when."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


class Wire:
    """One connection, as a mind writes to it."""

    def __init__(self, connection: socket.socket, ended: threading.Event) -> None:
        self.connection = connection
        self.ended = ended
        self.sent = 0

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.sent += len(data)

    def hold(self, seconds: float) -> bool:
        """Be silent for so long; False if the client has hung up, or all is over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.ended.is_set():
            if select.select([self.connection], [], [], min(left, 0.05))[0]:
                with contextlib.suppress(OSError):
                    return bool(self.connection.recv(1, socket.MSG_PEEK))
                return False
        return not self.ended.is_set()

    def drip(self, data: bytes, every: float) -> bool:
        """Say it byte by byte; that was all."""
        for number in range(len(data)):
            self.say(data[number : number + 1])
            if not self.hold(every):
                break
        return False

    def reset(self) -> bool:
        """End it as a crash does."""
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        self.connection.close()
        return False


Mind = Callable[[Request, Wire], bool]
"""Answers one request; returns whether the connection goes on."""


def answer(
    status: str = "200 OK", body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """An answer that is well formed as HTTP, whatever it says."""
    said = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class EvilServer:
    """Listens on a port of loopback until it is closed; a thread for each connection."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.requests: list[Request] = []
        self.connections = 0
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"consul://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5.0)

    def most_within(self, seconds: float) -> int:
        """The most requests that came within any span of that length."""
        times = [request.at for request in self.requests]
        most, first = 0, 0
        for last, at in enumerate(times):
            while at - times[first] > seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="evil", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            self.connections += 1
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        wire = Wire(connection, self._ended)
        try:
            with connection, connection.makefile("rb") as reader:
                while not self._ended.is_set():
                    first = reader.readline(65536).decode("latin-1").split()
                    if len(first) < 2:
                        return
                    headers = dict(_headers(reader.readline))
                    body = reader.read(int(headers.get("content-length", "0")))
                    request = Request(first[0], first[1], headers, body)
                    with self._lock:
                        self.requests.append(request)
                    if not self.mind(request, wire):
                        return
        except (OSError, ValueError):
            pass  # the client has given up
        finally:
            with self._lock:
                self._open.discard(connection)


def _headers(readline: Callable[[int], bytes]) -> list[tuple[str, str]]:
    found = []
    while line := readline(65536).decode("latin-1").strip():
        name, _, value = line.partition(":")
        found.append((name.lower(), value.strip()))
    return found
