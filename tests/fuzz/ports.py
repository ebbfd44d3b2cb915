"""Ports of loopback with something on them that is neither etcd nor ZooKeeper."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import trustme

__all__ = ["ANYTHING", "ETCD", "OTHER_SERVICES", "ZOOKEEPER", "WrongPort"]

Speech = Callable[[socket.socket, threading.Event], None]


class WrongPort:
    """Takes connections until it is closed, and counts them; each is spoken to in its own thread."""

    def __init__(self, speech: Speech, tls: ssl.SSLContext | None = None) -> None:
        self.connected: list[float] = []
        self._speech, self._tls = speech, tls
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5.0)

    def most_within(self, seconds: float) -> int:
        """The most connections within any span of that length."""
        times = list(self.connected)
        return max((sum(at <= one <= at + seconds for one in times) for at in times), default=0)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connected.append(time.monotonic())
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with connection:
                connection.settimeout(60.0)
                if self._tls is not None:
                    with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                        self._speech(wrapped, self._ended)
                else:
                    self._speech(connection, self._ended)
        except (OSError, ValueError, struct.error):
            pass  # the client has given up
        finally:
            self._open.discard(connection)


def server_tls(folder: Path) -> ssl.SSLContext:
    """What a server on loopback needs; its authority is left in `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def _say(data: bytes, *, first: bool = False, hold: bool = False) -> Speech:
    """Say it, before the other side has said anything or after, and hang up or not."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        if not first:
            connection.recv(65536)
        connection.sendall(data)
        if hold:
            _listen(connection, ended)

    return speech


def _listen(connection: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set() and connection.recv(65536):
        pass


def _reset(connection: socket.socket, _: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _endless(data: bytes) -> Speech:
    def speech(connection: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(0.02):  # there are many of these, and few processors
            connection.sendall(data)

    return speech


def _drip(data: bytes) -> Speech:
    def speech(connection: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(0.05):
            connection.sendall(data)

    return speech


def _echo(connection: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set() and (data := connection.recv(65536)):
        connection.sendall(data)


ANYTHING: Mapping[str, Speech] = {
    "silence": _listen,
    "hangs up": lambda connection, _: None,
    "resets": _reset,
    "HTTP/1.1 400": _say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "SSH": _say(b"SSH-2.0-OpenSSH_9.2p1\r\n", first=True, hold=True),
    "garbage": _say(bytes(range(256)) * 4, hold=True),
    "garbage first": _say(b"\xff" * 100, first=True),
    "a TLS alert": _say(b"\x15\x03\x01\x00\x02\x02\x46"),
    "zeros for ever": _endless(b"\0" * 65536),
    "bytes for ever": _endless(b"\xa5" * 65536),
    "drips": _drip(b"\0"),
    "echo": _echo,
}

OTHER_SERVICES: Mapping[str, Speech] = {
    "SSH": _say(b"SSH-2.0-OpenSSH_9.2p1\r\n", first=True, hold=True),
    "Redis": _say(b"-ERR unknown command 'X', with args beginning with: \r\n", hold=True),
    "HTTP": _say(
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\nnot found",
        hold=True,
    ),
}
"""What listens where an etcd, a Consul or a ZooKeeper was expected, by mistake."""

_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
_GOAWAY = b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\x0b"

ETCD: Mapping[str, Speech] = {
    "settings, then silence": _say(_SETTINGS, first=True, hold=True),
    "settings, then go away": _say(_SETTINGS + _GOAWAY, first=True, hold=True),
    "settings, then hangs up": _say(_SETTINGS),
    "a huge frame": _say(
        _SETTINGS + b"\xff\xff\xff\x00\0\0\0\0\x01" + b"x" * 100, first=True, hold=True
    ),
    "headers that are none": _say(
        _SETTINGS + b"\0\0\x10\x01\x04\0\0\0\x01" + b"\xff" * 16, hold=True
    ),
    "resets of every stream": _say(
        _SETTINGS + b"".join(b"\0\0\x04\x03\0" + struct.pack(">II", n, 2) for n in (1, 3, 5, 7)),
        hold=True,
    ),
    "a window of nothing": _say(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0", first=True, hold=True),
}


def _welcome(
    timeout: int, session: int = 0x1234, password: bytes = b"p" * 16, then: bytes | None = None
) -> Speech:
    """Accept a session as a ZooKeeper does, and answer each request after that with `then`."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        body = struct.pack(">iiqi", 0, timeout, session, len(password)) + password + b"\0"
        connection.sendall(struct.pack(">i", len(body)) + body)
        while not ended.is_set() and connection.recv(65536):
            if then is not None:
                connection.sendall(then)

    return speech


def _frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def _answers(body: bytes, error: int = 0) -> Speech:
    """Accept a session, and answer each request by its number, with this error or body."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        with connection.makefile("rb") as requests:
            requests.read(struct.unpack(">i", requests.read(4))[0])
            welcome = struct.pack(">iiqi", 0, 15_000, 0x1234, 16) + b"p" * 16 + b"\0"
            connection.sendall(_frame(welcome))
            while not ended.is_set() and (length := requests.read(4)):
                number = requests.read(struct.unpack(">i", length)[0])[:4]
                connection.sendall(_frame(number + struct.pack(">qi", 1, error) + body))

    return speech


ZOOKEEPER: Mapping[str, Speech] = {
    "a huge length": _say(struct.pack(">i", 2**31 - 1) + b"x" * 100, hold=True),
    "a negative length": _say(struct.pack(">i", -1) + b"x" * 100, hold=True),
    "a length of 0": _say(struct.pack(">i", 0), hold=True),
    "a truncated welcome": _say(struct.pack(">i", 37) + b"\0" * 10),
    "a short welcome": _say(_frame(b"\0" * 3), hold=True),
    "an odd welcome": _say(_frame(b"\xff" * 37), hold=True),
    **{
        f"a ttl of {timeout} ms": _welcome(timeout)
        for timeout in (0, -1, 1, 2**31 - 1, -(2**31), 15_000)
    },
    "no session": _welcome(15_000, session=0),
    "no password": _welcome(15_000, password=b""),
    "a huge password": _welcome(15_000, password=b"p" * 100_000),
    "answers of garbage": _welcome(15_000, then=_frame(b"\xff" * 40)),
    "answers to nobody": _welcome(15_000, then=_frame(struct.pack(">iqi", 99, 1, 0))),
    "answers of an unknown error": _answers(b"", -9999),
    "answers of nothing": _answers(b""),
    "answers of the right number and garbage": _answers(b"\xff" * 40),
    "answers of many things": _answers(struct.pack(">i", 2**31 - 1) + b"x" * 40),
    "answers that are no text": _answers(struct.pack(">ii", 1, 4) + b"\xff" * 4),
    "answers that are short": _welcome(15_000, then=_frame(b"\0")),
    "answers without end": _welcome(15_000, then=struct.pack(">i", 1000) + b"x"),
    "answers of a huge length": _welcome(15_000, then=struct.pack(">i", 2**31 - 1)),
    "answers of a negative length": _welcome(15_000, then=struct.pack(">i", -5)),
    "events": _welcome(15_000, then=_frame(struct.pack(">iqi", -1, -1, 0) + b"\xff" * 8)),
}
