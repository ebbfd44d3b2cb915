"""The counting proxy, on a real server."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator

import pytest

from leadership_bench.proxy import CountingProxy


@pytest.fixture
def port() -> Iterator[int]:
    """The port of an HTTP server that answers any GET with ten bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"0123456789")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_proxy_counts_requests_and_bytes(port: int) -> None:
    """Requests of one connection and of several, and the bytes of both directions."""
    with CountingProxy("127.0.0.1", port) as proxy:
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
            for _ in range(3):
                connection.request("GET", "/v1/kv/a")
                assert connection.getresponse().read() == b"0123456789"
            connection.close()

    assert proxy.requests == 6
    assert proxy.bytes > 6 * (len("GET /v1/kv/a HTTP/1.1\r\n\r\n") + len("HTTP/1.1 200 OK") + 10)
