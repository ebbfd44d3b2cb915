"""Whether HTTP/2 is spoken at an endpoint, asked with a socket before gRPC is let go there.

gRPC takes the first frame of a server for a connection that stands, and forgets its backoff. To a
port that sends that frame and then something else it connects again at once, for as long as a
call waits: a thousand times a second. So the first time, and after each failure, the port has to
answer a ping.
"""

from __future__ import annotations

import socket
import ssl
import struct

from leadership_core import clock
from leadership_core.addresses import Address, connected

__all__ = ["WRONG_SERVER", "objection"]

_SETTINGS, _PING, _GOAWAY, _WINDOW = 4, 6, 7, 8  # types of frames
_KNOWN = 9  # what is higher is to be ignored
_ACK = 1
_PAYLOAD = b"election"
_HELLO = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + struct.pack(">IBI", _SETTINGS, 0, 0)
    + struct.pack(">IBI", len(_PAYLOAD) << 8 | _PING, 0, 0)
    + _PAYLOAD
)
_LONGEST = 16_384  # bytes of a frame, unless the client allows for more
_MOST = 100  # frames before the answer to a ping

WRONG_SERVER = (
    "what answers there does not speak HTTP/2 as etcd 3.4 and later do; check host and port"
)
_HUNG_UP = "it closes connections without an answer"
_SILENT = "no answer in time"


def objection(address: Address, tls: ssl.SSLContext | None, until: float) -> str | None:
    """Say why what listens there cannot be an etcd.

    Args:
        address: of the endpoint.
        tls: None for plain text; need not verify anything, since no secret is sent.
        until: when to give up, on `clock.now`.

    Returns:
        None if it may be one, or if gRPC will find out by itself: that no server listens, say, or
        that TLS fails.
    """
    try:
        with connected(address, until) as sock:
            if tls is None:
                return _ask(sock, until)
            with tls.wrap_socket(sock, server_hostname=address.name) as wrapped:
                return _ask(wrapped, until)
    except (OSError, ValueError):
        return None


def _ask(sock: socket.socket, until: float) -> str | None:
    try:
        sock.settimeout(_left(until))
        sock.sendall(_HELLO)
        for number in range(_MOST):
            length, kind, flags, stream = _head(sock, until)
            settings = kind == _SETTINGS and not flags & _ACK
            if length > _LONGEST or stream or settings != (number == 0):
                return WRONG_SERVER
            body = _exactly(sock, length, until)
            if kind == _PING and flags & _ACK:
                return None if body == _PAYLOAD else WRONG_SERVER
            if kind == _GOAWAY:
                return "it sends us away"
            if kind not in {_SETTINGS, _PING, _WINDOW} and kind <= _KNOWN:
                return WRONG_SERVER
    except TimeoutError:
        return _SILENT
    except OSError:
        return _HUNG_UP
    return WRONG_SERVER


def _head(sock: socket.socket, until: float) -> tuple[int, int, int, int]:
    head = _exactly(sock, 9, until)
    length_and_kind, flags, stream = struct.unpack(">IBI", head)
    return length_and_kind >> 8, length_and_kind & 0xFF, flags, stream & 0x7FFF_FFFF


def _exactly(sock: socket.socket, length: int, until: float) -> bytes:
    data = b""
    while len(data) < length:
        if clock.now() >= until:  # a server may drip
            raise TimeoutError
        sock.settimeout(_left(until))
        more = sock.recv(length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _left(until: float) -> float:
    return max(0.01, until - clock.now())
