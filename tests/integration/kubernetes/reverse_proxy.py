"""A reverse proxy before the real API server, in plain HTTP, which rejects requests while a test asks for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.servers.kubernetes import Kubernetes

__all__ = ["ReverseProxy"]


class ReverseProxy:
    """Forwards each request, with the credentials that it has, unless one of `refusals` is next.

    Attributes:
        refusals: for each of the next requests, the status and headers to refuse it with.
        requests: the methods and paths that have come, refused ones included.
    """

    def __init__(self, cluster: Kubernetes) -> None:
        self.cluster = cluster
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.requests: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle_one_request()

            def do_GET(self) -> None:
                proxy.forward(self)

            do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  # as the base class names them

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @classmethod
    @contextlib.contextmanager
    def before(cls, cluster: Kubernetes) -> Iterator[ReverseProxy]:
        """Run one."""
        proxy = cls(cluster)
        proxy._thread.start()
        try:
            yield proxy
        finally:
            proxy._server.shutdown()
            proxy._server.server_close()
            proxy._thread.join(5)

    def kubeconfig(self, path: Path) -> Path:
        """A kubeconfig file for the proxy, with the administrator's token."""
        cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        document = {
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "admin"}}],
            "clusters": [{"name": "proxy", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.cluster.token}}],
        }
        path.write_text(json.dumps(document))  # JSON is YAML
        return path

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else None
        self.requests.append(f"{handler.command} {handler.path}")
        if self.refusals:
            status, headers = self.refusals.pop(0)
            self._answer(handler, status, headers, b"too many requests, please try again later")
            return
        context = ssl.create_default_context(cadata=self.cluster.ca)
        connection = http.client.HTTPSConnection(
            self.cluster.host, self.cluster.port, context=context, timeout=60
        )
        with contextlib.closing(connection):
            kept = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() in {"authorization", "content-type", "accept"}
            }
            connection.request(handler.command, handler.path, body, kept)
            answer = connection.getresponse()
            if "watch=true" not in handler.path or answer.status != 200:
                self._answer(handler, answer.status, {}, answer.read())
                return
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            while line := answer.readline():
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                handler.wfile.flush()
            handler.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _answer(
        handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
