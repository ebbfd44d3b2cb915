"""Codec of ZooKeeper's protocol: frames, sessions, and the fields of responses."""

from __future__ import annotations

import socket
import struct

__all__ = [
    "close_session",
    "connect",
    "frame",
    "granted",
    "read",
    "read_bytes",
    "read_strings",
    "send",
]

_CONNECT = struct.Struct(">iqiqi16sb")  # version, last zxid, timeout, session, password, read only
_ANSWER = struct.Struct(">iiqi16s")  # version, timeout, session, password
_CLOSE = struct.pack(">ii", 1, -11)


def granted(host: str, port: int, seconds: float) -> float:
    """Open a session, close it, and return the granted timeout in seconds."""
    with socket.create_connection((host, port), 5) as link:
        timeout, _ = connect(link, int(seconds * 1000), 0)
        send(link, _CLOSE)
        read(link)
    return timeout / 1000


def close_session(host: str, port: int, session: int) -> None:
    """Resume another client's session, and close it.

    Raises:
        ConnectionError: there is no such session.
    """
    is_sent = False
    for _ in range(10):
        with socket.create_connection((host, port), 5) as link:
            _, joined = connect(link, 5000, session)
            if joined != session:
                if is_sent:
                    return  # it is closed, and the answer was lost
                raise ConnectionError(f"the server knows no session {session:#x}")
            send(link, _CLOSE)
            is_sent = True
            try:
                read(link)
            except ConnectionError:
                continue  # its client has resumed it meanwhile, and the server has closed this connection
            return
    raise ConnectionError(f"the client of session {session:#x} resumes it again and again")


def connect(link: socket.socket, timeout: int, session: int) -> tuple[int, int]:
    """Open or resume a session; returns the granted timeout in ms, and the session."""
    password = _password(session) if session else bytes(16)
    send(link, _CONNECT.pack(0, 0, timeout, session, len(password), password, 0))
    _, granted_ms, joined, _, _ = _ANSWER.unpack(read(link)[: _ANSWER.size])
    return granted_ms, joined


def _password(session: int) -> bytes:
    """The password that every ZooKeeper server derives from a session id, by java.util.Random."""
    state = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & (1 << 48) - 1
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        out += (state >> 16).to_bytes(4, "little")
    return out


def frame(body: bytes) -> bytes:
    """Return the body with its length before it."""
    return struct.pack(">i", len(body)) + body


def send(link: socket.socket, body: bytes) -> None:
    """Send one frame."""
    link.sendall(frame(body))


def read_bytes(data: bytes) -> tuple[bytes, bytes]:
    """Return the buffer at the start of the data, and the rest."""
    (length,) = struct.unpack_from(">i", data)
    end = 4 + max(length, 0)
    return data[4:end], data[end:]


def read_strings(data: bytes) -> list[str]:
    """Return the vector of strings at the start of the data."""
    (count,) = struct.unpack_from(">i", data)
    rest, found = data[4:], []
    for _ in range(count):
        one, rest = read_bytes(rest)
        found.append(one.decode())
    return found


def read(link: socket.socket) -> bytes:
    """Receive one frame, and return its body."""
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
