"""A front before a real Consul: it passes everything on, and changes what a scenario wants."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.servers.consul import Consul

__all__ = ["Front"]

_PATIENCE = 30.0  # seconds; a long poll takes its time
_PASSED_ON = ("Content-Type", "X-Consul-Token")


class Front:
    """Listens on a port of 127.0.0.1 while it is entered; candidates may come and go.

    Attributes:
        index: what becomes of the index of each answer; may be set at any time.
        status: what everything is answered with instead, or 0; may be set at any time.
        asked: when something was asked, on `time.monotonic`.
    """

    def __init__(self, consul: Consul) -> None:
        self.index: Callable[[int], int] = lambda index: index
        self.status = 0
        self.asked: list[float] = []
        self._consul = consul
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True  # who asked has gone

            def do_GET(self) -> None:
                front._pass_on(self)

            do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as its base class calls them

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer((consul.host, 0), Handler)
        self._server.block_on_close = False  # long polls end when their clients do
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="test-front", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def asked_within(self, seconds: float) -> int:
        """How many requests there were in the last so many seconds."""
        since = time.monotonic() - seconds
        return sum(at > since for at in self.asked)

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(time.monotonic())
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.status:
            self._answer(request, self.status, {}, b"No cluster leader")
            return
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        connection = http.client.HTTPConnection(
            self._consul.host, self._consul.port, timeout=_PATIENCE
        )
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        told = {
            name: value
            for name, value in answer.headers.items()
            if name.startswith("X-Consul") or name == "Content-Type"
        }
        if "X-Consul-Index" in told:
            told["X-Consul-Index"] = str(self.index(int(told["X-Consul-Index"])))
        # What began before it failed fails, too.
        self._answer(request, self.status or answer.status, told, text)

    def _answer(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
