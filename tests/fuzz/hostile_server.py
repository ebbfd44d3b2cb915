"""HTTP server with wrong answers, which counts its requests."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fuzz.listener import Listener, most_within, reset

__all__ = ["Behaviour", "HostileServer", "Request", "Wire", "answer"]


@dataclass(frozen=True)
class Request:
    """A request, with the time of its arrival."""

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
    """A connection, for a behaviour."""

    def __init__(self, connection: socket.socket, ended: threading.Event) -> None:
        self.connection = connection
        self.ended = ended
        self.sent = 0

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.sent += len(data)

    def hold(self, seconds: float) -> bool:
        """Send nothing for so long; False if the client or the server has closed meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.ended.is_set():
            if select.select([self.connection], [], [], min(left, 0.05))[0]:
                with contextlib.suppress(OSError):
                    return bool(self.connection.recv(1, socket.MSG_PEEK))
                return False
        return not self.ended.is_set()

    def drip(self, data: bytes, every: float) -> bool:
        """Send it byte by byte; returns False, as the last answer of a connection."""
        for number in range(len(data)):
            self.say(data[number : number + 1])
            if not self.hold(every):
                break
        return False

    def reset(self) -> bool:
        """Reset the connection, as a crash does."""
        reset(self.connection)
        self.connection.close()
        return False


Behaviour = Callable[[Request, Wire], bool]
"""Answers one request; returns whether the connection stays open."""


def answer(
    status: str = "200 OK", body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """A well-formed HTTP response with this content."""
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class HostileServer(Listener):
    """An HTTP server with one behaviour, which counts its requests."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"consul://127.0.0.1:{self.port}"

    def most_within(self, seconds: float) -> int:
        """The largest number of requests within a span of that length."""
        return most_within([request.at for request in self.requests], seconds)

    def serve(self, connection: socket.socket) -> None:
        wire = Wire(connection, self.ended)
        with connection.makefile("rb") as reader:
            while not self.ended.is_set():
                first = reader.readline(65536).decode("latin-1").split()
                if len(first) < 2:
                    return
                headers = dict(_headers(reader.readline))
                body = reader.read(int(headers.get("content-length", "0")))
                request = Request(first[0], first[1], headers, body)
                self.requests.append(request)
                if not self.behaviour(request, wire):
                    return


def _headers(readline: Callable[[int], bytes]) -> list[tuple[str, str]]:
    found = []
    while line := readline(65536).decode("latin-1").strip():
        name, _, value = line.partition(":")
        found.append((name.lower(), value.strip()))
    return found
