"""A small HTTP client over plain sockets, which sends exactly the bytes that a test wants."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadership_core.status import StatusServer
from tests.support.waiting import wait_until

__all__ = [
    "Answer",
    "EventClient",
    "ask",
    "connect",
    "exchange",
    "listening",
    "open_sockets",
    "parse",
    "wait_for_leader",
]

_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body without the line break at its end."""
        return self.body.decode().rstrip("\n")


def connect(server: StatusServer, host: str = "127.0.0.1") -> socket.socket:
    """Open a connection to the server."""
    return socket.create_connection((host, server.port), timeout=_SECONDS)


def exchange(server: StatusServer, request: bytes) -> bytes:
    """Send the bytes, and return all that comes until the server closes the connection."""
    with connect(server) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def open_sockets() -> set[str]:
    """The sockets and selectors of this process; a store opens files whenever it reads."""
    found = set[str]()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed in the meantime
            found.add(str(link.readlink()))
    return {target for target in found if not target.startswith("/")}


def parse(raw: bytes) -> Answer:
    """Parse one response that is followed by nothing."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    return Answer(int(status), {name.lower(): value for name, _, value in pairs}, body)


def ask(server: StatusServer, path: str, *, method: str = "GET", host: str = "localhost") -> Answer:
    """Request a path on a connection of its own."""
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return parse(exchange(server, request.encode()))


def wait_for_leader(server: StatusServer, check: Callable[[Any], object]) -> Any:
    """Wait until the document of `/leader` passes the check; returns it."""
    found: list[Any] = []

    def passes() -> bool:
        found.append(ask(server, "/leader").json)
        return bool(check(found[-1]))

    wait_until(passes, what="the document of /leader passes the check")
    return found[-1]


@dataclass(frozen=True)
class Message:
    """One event of a stream."""

    id: str
    event: str
    data: Any


class EventClient:
    """A client of `/events`."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = sock.makefile("rb")
        self.head = b"".join(iter(self._stream.readline, b"\r\n"))
        self.comments = 0

    def __iter__(self) -> Iterator[Message]:
        fields: dict[str, str] = {}
        for raw in self._stream:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield Message(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}

    def wait(self, check: Callable[[Any], object], event: str = "election") -> Any:
        """Read until a document of that event passes the check; returns it."""
        return next(one.data for one in self if one.event == event and check(one.data))

    def close(self) -> None:
        """Stop to read."""
        self._stream.close()


@contextmanager
def listening(server: StatusServer) -> Iterator[EventClient]:
    """Open `/events` while entered."""
    with connect(server) as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client = EventClient(sock)
        try:
            yield client
        finally:
            client.close()
