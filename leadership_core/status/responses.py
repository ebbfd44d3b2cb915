"""Responses of HTTP/1.1, with the headers that keep a page and its content apart from others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from .requests import Request

__all__ = ["Response", "json_response", "text_response"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Attributes:
        status: the code.
        content_type: of the body.
        body: all of it; None for a stream, which begins after the head.
        headers: further headers.
    """

    status: int
    content_type: str
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, request: Request | None, *, keep_alive: bool) -> bytes:
        """Return the response to a request; to one that could not be parsed for None.

        Args:
            request: without a body for HEAD.
            keep_alive: whether the connection may be used again.
        """
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in {**_HEADERS, **self.headers}.items()),
        ]
        if self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("ascii")
        if self.body is None or (request is not None and request.method == "HEAD"):
            return head
        return head + self.body


def text_response(status: int, text: str, **headers: str) -> Response:
    """Make a response of one line of text; underscores in the names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f"{text}\n".encode("utf-8", "backslashreplace")
    return Response(status, "text/plain; charset=utf-8", body, named)


def json_response(status: int, document: object) -> Response:
    """Make a response of JSON, in ASCII: lone surrogates are escaped, as all else beyond it."""
    return Response(status, "application/json", json.dumps(document).encode("ascii") + b"\n")
