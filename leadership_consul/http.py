"""One HTTP exchange on an open socket: a request is written, and its answer read to the end.

An agent sends a short answer at once, with a head of about ten lines. The standard library makes an email
message of that head, which takes most of the processor time of a request. So an answer that has the usual
form, and is complete after the first read, is parsed here. All others, such as chunked ones, those of another
kind of server, and those that break off, go to the standard library, with the bytes that were read already.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from http.client import HTTPResponse, IncompleteRead
from socket import socket
from typing import Any, NamedTuple

__all__ = ["Answer", "exchange", "host_header"]

_INDEX = "X-Consul-Index"
_FIRST = 16 * 1024  # bytes of the first read
_CHUNK = 256 * 1024  # bytes

_USUAL = re.compile(
    rb"HTTP/1\.1 (200|[45]\d\d)(?: [^\r\n]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)+)\r\n"
)
"""The head of a usual answer: without folded lines, and with a status whose body the length counts."""
_FIELDS = re.compile(
    rb"^(connection|content-length|transfer-encoding|x-consul-index):[ \t]*([^\r\n]*?)[ \t]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
"""The headers that say how long the answer is, or that are read."""
_LENGTH = re.compile(rb"\d{1,6}")


class Answer(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP.
        modify_index: the header `X-Consul-Index`, which is the only one that py-consul reads; None without it.
        body: undecoded.
        closes: whether the connection cannot be used again.
    """

    status: int
    modify_index: str | None
    body: bytes
    closes: bool


def exchange(
    sock: socket, method: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> Answer:
    """Send one request and read its answer; the socket has the deadline.

    Args:
        sock: connected.
        method: the HTTP method.
        target: the path and the query, quoted.
        headers: all but that of the length; their values have no line breaks.
        body: or None.

    Raises:
        OSError, HTTPException: there is no answer; the connection has to be closed.
    """
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body or method in {"PUT", "POST"}:
        lines.append(f"Content-Length: {len(body or b'')}")
    # Head and body in one packet: the agent reads both at once.
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
    buffer = bytearray(_FIRST)
    begun = bytes(memoryview(buffer)[: sock.recv_into(buffer)])
    return _usual(begun) or _any_other(sock, method, begun)


def host_header(name: str, port: int) -> str:
    """The value of the header `Host`: an IPv6 address is in brackets, and has no zone."""
    if ":" in name:
        return f"[{name.partition('%')[0]}]:{port}"
    return f"{name if name.isascii() else name.encode('idna').decode()}:{port}"


def _usual(text: bytes) -> Answer | None:
    """The answer, if it is complete and has the usual form."""
    head = _USUAL.match(text)
    if head is None:
        return None
    found = _FIELDS.findall(head[2])
    fields = {name.lower(): value for name, value in found}
    length = fields.get(b"content-length", b"")
    is_plain = len(fields) == len(found) and not fields.keys() & {
        b"connection",
        b"transfer-encoding",
    }
    if not is_plain or not _LENGTH.fullmatch(length):
        return None
    end = head.end() + int(length)
    if len(text) < end:
        return None
    index = fields.get(b"x-consul-index")
    return Answer(
        status=int(head[1]),
        modify_index=None if index is None else index.decode("latin-1"),
        body=text[head.end() : end],
        closes=len(text) > end,  # what follows is no answer to any request
    )


def _any_other(sock: socket, method: str, begun: bytes) -> Answer:
    """Read an answer of which some bytes were read already."""
    with HTTPResponse(_Replay(sock, begun), method=method) as response:  # type: ignore[arg-type]  # uses makefile only
        response.begin()
        # In chunks: reading all at once allocates as much memory as the header promises.
        chunks = []
        while chunk := response.read(_CHUNK):
            chunks.append(chunk)
        if response.length:
            raise IncompleteRead(b"", response.length)
        return Answer(
            response.status,
            response.headers.get(_INDEX),
            b"".join(chunks),
            response.will_close,
        )


class _Replay(io.RawIOBase):
    """Bytes that were read already, and then those of a socket, as the standard library reads them."""

    def __init__(self, sock: socket, begun: bytes) -> None:
        super().__init__()
        self._sock, self._begun = sock, begun

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self, _CHUNK)  # a list of ten thousand keys has some megabytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begun:
            return self._sock.recv_into(buffer)
        size = min(len(buffer), len(self._begun))
        buffer[:size], self._begun = self._begun[:size], self._begun[size:]
        return size
