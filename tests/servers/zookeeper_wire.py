"""The few words of ZooKeeper's protocol that take no client: what it grants, and a forced expiry."""

from __future__ import annotations

import socket
import struct

__all__ = ["close_session", "granted"]

_CONNECT = struct.Struct(">iqiqi16sb")  # version, last zxid, timeout, session, password, read only
_ANSWER = struct.Struct(">iiqi16s")  # version, timeout, session, password
_CLOSE = struct.pack(">ii", 1, -11)


def granted(host: str, port: int, seconds: float) -> float:
    """Open a session, close it, and return the timeout in seconds that it was granted."""
    with socket.create_connection((host, port), 5) as link:
        timeout, _ = _connect(link, int(seconds * 1000), 0)
        _send(link, _CLOSE)
        _read(link)
    return timeout / 1000


def close_session(host: str, port: int, session: int) -> None:
    """Join somebody else's session, and close it.

    Raises:
        ConnectionError: there is no such session.
    """
    with socket.create_connection((host, port), 5) as link:
        _, joined = _connect(link, 5000, session)
        if joined != session:
            raise ConnectionError(f"the server knows no session {session:#x}")
        _send(link, _CLOSE)
        _read(link)


def _connect(link: socket.socket, timeout: int, session: int) -> tuple[int, int]:
    password = _password(session) if session else bytes(16)
    _send(link, _CONNECT.pack(0, 0, timeout, session, len(password), password, 0))
    _, granted_ms, joined, _, _ = _ANSWER.unpack(_read(link)[: _ANSWER.size])
    return granted_ms, joined


def _password(session: int) -> bytes:
    """The password that every ZooKeeper server gives a session: java.util.Random, seeded."""
    state = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & (1 << 48) - 1
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        out += (state >> 16).to_bytes(4, "little")
    return out


def _send(link: socket.socket, body: bytes) -> None:
    link.sendall(struct.pack(">i", len(body)) + body)


def _read(link: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", _exactly(link, 4))
    return _exactly(link, length)


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ConnectionError("the server has closed the connection")
        data += more
    return data
