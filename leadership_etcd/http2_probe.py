"""HTTP/2 probe of a port with a plain socket, before gRPC connects to it.

gRPC takes the first frame of a server for a connection that works, and resets its backoff. To a
port that sends that frame and then something else it reconnects at once, for as long as a call
waits: a thousand times a second. So the first time, and after each failure, the port has to
answer a ping (https://www.rfc-editor.org/rfc/rfc9113#name-ping).
"""

from __future__ import annotations

import socket
import ssl
import struct

from leadership_core.backend import Address, clock, connected

__all__ = ["WRONG_SERVER", "probe"]

_SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 4, 6, 7, 8  # types of frames
_LAST_TYPE = 9  # larger ones are extensions, to be ignored
_ACK = 1
_PAYLOAD = b"election"
_GREETING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + struct.pack(">IBI", _SETTINGS, 0, 0)
    + struct.pack(">IBI", len(_PAYLOAD) << 8 | _PING, 0, 0)
    + _PAYLOAD
)
_MAX_FRAME_SIZE = 16_384  # bytes, unless the client allows for more
_MAX_FRAMES = 100  # before the answer to a ping

WRONG_SERVER = (
    "the server there does not speak HTTP/2 as etcd 3.4 and later do; check host and port"
)


def probe(address: Address, tls: ssl.SSLContext | None, until: float) -> str | None:
    """Check that the server at an address may be an etcd.

    Args:
        address: of the endpoint.
        tls: None for plain text; it need not verify anything, since no secret is sent.
        until: when to give up, on `clock.now`.

    Returns:
        Why it cannot be an etcd. None if it may be one, or if gRPC reports the failure itself:
        that no server listens, or that TLS fails.
    """
    try:
        with connected(address, until) as sock:
            if tls is None:
                return _ping(sock, until)
            with tls.wrap_socket(sock, server_hostname=address.name) as wrapped:
                return _ping(wrapped, until)
    except (OSError, ValueError):
        return None


def _ping(sock: socket.socket, until: float) -> str | None:
    try:
        sock.settimeout(_left(until))
        sock.sendall(_GREETING)
        for number in range(_MAX_FRAMES):
            length_and_kind, flags, stream = struct.unpack(">IBI", _receive(sock, 9, until))
            length, kind = length_and_kind >> 8, length_and_kind & 0xFF
            settings = kind == _SETTINGS and not flags & _ACK
            if length > _MAX_FRAME_SIZE or stream & 0x7FFF_FFFF or settings != (number == 0):
                return WRONG_SERVER
            body = _receive(sock, length, until)
            if kind == _PING and flags & _ACK:
                return None if body == _PAYLOAD else WRONG_SERVER
            if kind == _GOAWAY:
                return "the server closes the HTTP/2 connection at once (GOAWAY)"
            if kind not in {_SETTINGS, _PING, _WINDOW_UPDATE} and kind <= _LAST_TYPE:
                return WRONG_SERVER
    except TimeoutError:
        return "no answer in time"
    except OSError:
        return "the server closes connections without an answer"
    return WRONG_SERVER


def _receive(sock: socket.socket, length: int, until: float) -> bytes:
    data = b""
    while len(data) < length:
        if clock.now() >= until:  # a server may send a byte at a time
            raise TimeoutError
        sock.settimeout(_left(until))
        more = sock.recv(length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _left(until: float) -> float:
    return max(0.01, until - clock.now())
