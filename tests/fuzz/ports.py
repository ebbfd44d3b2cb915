"""Ports of loopback with services that are no store, or a broken one."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import trustme

from tests.fuzz.listener import Listener, most_within, reset
from tests.support.zookeeper_codec import frame

__all__ = ["ANYTHING", "ETCD", "OTHER_SERVICES", "ZOOKEEPER", "WrongPort"]

Speech = Callable[[socket.socket, threading.Event], None]


class WrongPort(Listener):
    """A port with a service that is no store."""

    def __init__(self, speech: Speech, tls: ssl.SSLContext | None = None) -> None:
        self._speech, self._tls = speech, tls
        super().__init__()

    def most_within(self, seconds: float) -> int:
        """The largest number of connections within a span of that length."""
        return most_within(list(self.connected), seconds)

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(60.0)
        if self._tls is not None:
            with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                self._speech(wrapped, self.ended)
        else:
            self._speech(connection, self.ended)


def server_tls(folder: Path) -> ssl.SSLContext:
    """TLS for a server on loopback; the certificate of its authority is in `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def _say(data: bytes, *, first: bool = False, hold: bool = False) -> Speech:
    """Send it, before or after the first request, and close the connection or keep it open."""

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


def _endless(data: bytes, pause: float = 0.02) -> Speech:
    """Send it again and again; the pause is for machines with few processors."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(pause):
            connection.sendall(data)

    return speech


def _echo(connection: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set() and (data := connection.recv(65536)):
        connection.sendall(data)


ANYTHING: Mapping[str, Speech] = {
    "silence": _listen,
    "hangs up": lambda connection, _: None,
    "resets": lambda connection, _: reset(connection),
    "HTTP/1.1 400": _say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "SSH": _say(b"SSH-2.0-OpenSSH_9.2p1\r\n", first=True, hold=True),
    "garbage": _say(bytes(range(256)) * 4, hold=True),
    "garbage first": _say(b"\xff" * 100, first=True),
    "a TLS alert": _say(b"\x15\x03\x01\x00\x02\x02\x46"),
    "zeros without end": _endless(b"\0" * 65536),
    "bytes without end": _endless(b"\xa5" * 65536),
    "drips": _endless(b"\0", 0.05),
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
"""Services that a user may confuse with a store."""

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
    """Accept a session as ZooKeeper does, and answer each later request with `then`."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        body = struct.pack(">iiqi", 0, timeout, session, len(password)) + password + b"\0"
        connection.sendall(frame(body))
        while not ended.is_set() and connection.recv(65536):
            if then is not None:
                connection.sendall(then)

    return speech


def _answers(body: bytes, error: int = 0) -> Speech:
    """Accept a session, and answer each request by its number, with this error or body."""

    def speech(connection: socket.socket, ended: threading.Event) -> None:
        with connection.makefile("rb") as requests:
            requests.read(struct.unpack(">i", requests.read(4))[0])
            welcome = struct.pack(">iiqi", 0, 15_000, 0x1234, 16) + b"p" * 16 + b"\0"
            connection.sendall(frame(welcome))
            while not ended.is_set() and (length := requests.read(4)):
                number = requests.read(struct.unpack(">i", length)[0])[:4]
                connection.sendall(frame(number + struct.pack(">qi", 1, error) + body))

    return speech


ZOOKEEPER: Mapping[str, Speech] = {
    "a huge length": _say(struct.pack(">i", 2**31 - 1) + b"x" * 100, hold=True),
    "a negative length": _say(struct.pack(">i", -1) + b"x" * 100, hold=True),
    "a length of 0": _say(struct.pack(">i", 0), hold=True),
    "a truncated welcome": _say(struct.pack(">i", 37) + b"\0" * 10),
    "a short welcome": _say(frame(b"\0" * 3), hold=True),
    "an odd welcome": _say(frame(b"\xff" * 37), hold=True),
    **{
        f"a ttl of {timeout} ms": _welcome(timeout)
        for timeout in (0, -1, 1, 2**31 - 1, -(2**31), 15_000)
    },
    "no session": _welcome(15_000, session=0),
    "no password": _welcome(15_000, password=b""),
    "a huge password": _welcome(15_000, password=b"p" * 100_000),
    "answers of garbage": _welcome(15_000, then=frame(b"\xff" * 40)),
    "answers to no request": _welcome(15_000, then=frame(struct.pack(">iqi", 99, 1, 0))),
    "answers of an unknown error": _answers(b"", -9999),
    "answers of nothing": _answers(b""),
    "answers of the right number and garbage": _answers(b"\xff" * 40),
    "answers of many things": _answers(struct.pack(">i", 2**31 - 1) + b"x" * 40),
    "answers that are no text": _answers(struct.pack(">ii", 1, 4) + b"\xff" * 4),
    "answers that are short": _welcome(15_000, then=frame(b"\0")),
    "answers without end": _welcome(15_000, then=struct.pack(">i", 1000) + b"x"),
    "answers of a huge length": _welcome(15_000, then=struct.pack(">i", 2**31 - 1)),
    "answers of a negative length": _welcome(15_000, then=struct.pack(">i", -5)),
    "events": _welcome(15_000, then=frame(struct.pack(">iqi", -1, -1, 0) + b"\xff" * 8)),
}
