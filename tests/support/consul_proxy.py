"""An HTTP proxy before Consul that changes indexes, answers with errors, or rejects requests."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.servers.consul import Consul

__all__ = ["ConsulProxy"]

_TIMEOUT = 30.0  # seconds, more than a long poll takes
_OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-length", "host"}


class ConsulProxy:
    """A proxy that listens on a free port until it is closed.

    Attributes:
        port: where it listens.
        index: changes the index of each response; may be set at any time.
        status: what everything is answered with instead, or 0; may be set at any time.
        asked: the times of all requests, on `time.monotonic`.
    """

    def __init__(self, consul: Consul) -> None:
        self.index: Callable[[int], int] = lambda index: index
        self.status = 0
        self.asked: list[float] = []
        self._consul = consul
        self._rejected, self._rng = 0.0, random.Random(34)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True  # the client has hung up

            def do_GET(self) -> None:
                proxy._forward(self)

            do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as its base class calls them

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the signature is the base class's
                pass

        self._server = ThreadingHTTPServer((consul.host, 0), Handler)
        self._server.block_on_close = False  # long polls end when their clients do
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="test-consul-proxy", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def begin(self, share: float = 1.0) -> None:
        """Reject that share of all requests with status 429, from now on."""
        self._rejected = share

    def end(self) -> None:
        """Forward all requests again."""
        self._rejected = 0.0

    def asked_within(self, seconds: float) -> int:
        """The number of requests in the last seconds."""
        since = time.monotonic() - seconds
        return sum(at > since for at in self.asked)

    def _forward(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(time.monotonic())
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self._rng.random() < self._rejected:
            _answer(request, 429, {"Retry-After": "1"}, b"rate limit exceeded")
            return
        if self.status:
            _answer(request, self.status, {}, b"No cluster leader")
            return
        connection = http.client.HTTPConnection(
            self._consul.host, self._consul.port, timeout=_TIMEOUT
        )
        try:
            headers = _end_to_end(request.headers.items())
            connection.request(request.command, request.path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        headers = _end_to_end(response.getheaders())
        if "X-Consul-Index" in headers:
            headers["X-Consul-Index"] = str(self.index(int(headers["X-Consul-Index"])))
        # A request that was forwarded before the errors began fails, too.
        _answer(request, self.status or response.status, headers, text)


def _end_to_end(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _OF_THE_CONNECTION}


def _answer(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
) -> None:
    request.send_response_only(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
