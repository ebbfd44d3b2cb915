"""Requests of HTTP/1.0 and 1.1: their heads, parsed within limits; no request has a body."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["LONGEST_HEAD", "BadRequest", "Request", "take_request"]

LONGEST_HEAD = 8192
"""Bytes of a request line and its header lines together."""

_LONGEST_LINE = 2048  # bytes of the request line
_MOST_HEADERS = 64
_MOST_FIELDS = 8  # of a query

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the term of RFC 9110
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([\x20-\x7e\x80-\xff\t]*)")


class BadRequest(Exception):
    """A request that is answered with an error, and whose connection is closed.

    Args:
        status: the status code of the answer.
        reason: one line for the client; repeats nothing of the request.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request.

    Attributes:
        method: as sent.
        path: decoded, without the query.
        query: the first value of each field.
        headers: values by their names in lower case; of a repeated one the values, with commas.
        host: the value of Host, or that of an absolute target; None without one.
        keep_alive: whether the connection may be used again.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    host: str | None = None
    keep_alive: bool = False


def take_request(buffer: bytearray) -> Request | None:
    """Take the first request out of what was received; None while it is incomplete.

    Raises:
        BadRequest: it is too long, or it is not HTTP/1.
    """
    while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: an empty line before a request is ignored
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    line_end = buffer.find(b"\r\n", 0, _LONGEST_LINE)
    if line_end < 0 and len(buffer) >= _LONGEST_LINE:
        raise BadRequest(414, "the request line is too long")
    if end < 0:
        if len(buffer) >= LONGEST_HEAD:
            raise BadRequest(431, "the header lines are too long")
        if line_end >= 0 or b"\n" in buffer:
            _parse_line(bytes(buffer[: line_end if line_end >= 0 else buffer.find(b"\n")]))
        return None
    lines = bytes(buffer[:end]).split(b"\r\n")
    del buffer[: end + 4]
    return _parse(lines)


def _parse_line(line: bytes) -> tuple[str, str, int]:
    """The method, the target and the minor version of a request line."""
    match = _REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if match is None:
        raise BadRequest(400, "this is no request of HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != "1":
        raise BadRequest(505, "only HTTP/1.1 and HTTP/1.0 are served here")
    return method, target, int(minor)


def _parse(lines: list[bytes]) -> Request:
    method, target, minor = _parse_line(lines[0])
    headers = _headers(lines[1:])
    host = headers.get("host")
    if host is None and minor >= 1:
        raise BadRequest(400, "the header Host is missing")
    try:
        parts = urlsplit(target)
        fields = parse_qs(parts.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequest(400, "the target is no URL, or its query has too many fields") from None
    if parts.scheme == "http" and parts.netloc:
        host = parts.netloc
    elif not target.startswith("/") or target.startswith("//"):
        raise BadRequest(400, "the target must be a path")
    connection = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    wants_more = "close" not in connection if minor >= 1 else "keep-alive" in connection
    return Request(
        method=method,
        path=unquote(parts.path or "/"),
        query={name: values[0] for name, values in fields.items()},
        headers=headers,
        host=host,
        keep_alive=wants_more and not has_body,  # a body is not read, so nothing can follow it
    )


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MOST_HEADERS:
        raise BadRequest(431, "there are too many header lines")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line.decode("latin-1"))
        if match is None:
            raise BadRequest(400, "a header line is malformed")
        name, value = match[1].lower(), match[2].strip()
        if name in headers:
            if name in {"host", "content-length"}:
                raise BadRequest(400, f"the header {name} is repeated")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers
