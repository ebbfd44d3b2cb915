"""Stores that have too much to do, and say so in the way that each of them has."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import grpc

from tests.faults.stand import Stand

__all__ = ["Overload", "overload_of"]

_HOP = {"connection", "transfer-encoding", "content-length", "host"}


class Overload(Protocol):
    """What stands before a store, or in it, and turns requests away.

    Attributes:
        port: where candidates are to connect.
    """

    port: int

    def begin(self, share: float = 1.0) -> None:
        """Turn away that share of all requests, from now on."""

    def end(self) -> None:
        """Let all through."""

    def close(self) -> None:
        """Stop."""


class _Share:
    """The share of requests that are turned away."""

    def __init__(self) -> None:
        self.value = 0.0
        self._rng = random.Random(34)

    def __call__(self) -> bool:
        return self._rng.random() < self.value


class HTTPFront:
    """A gateway before Consul, as many have it, that limits how often it is asked."""

    def __init__(self, target: int) -> None:
        self._share = share = _Share()

        class Gateway(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if share():
                    self._answer(429, {"Retry-After": "1"}, b"rate limit exceeded")
                    return
                there = http.client.HTTPConnection("127.0.0.1", target)
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                    there.request(self.command, self.path, body, headers)
                    answer = there.getresponse()
                    text = answer.read()
                finally:
                    there.close()
                told = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
                self._answer(answer.status, told, text)

            do_GET = do_PUT = do_DELETE = do_POST = pass_on  # noqa: N815

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Whoever asked has gone."""

        self._server = Server(("127.0.0.1", 0), Gateway)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def begin(self, share: float = 1.0) -> None:
        self._share.value = share

    def end(self) -> None:
        self._share.value = 0.0

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GRPCFront(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """A proxy before etcd that answers as etcd itself does when it has too much to do."""

    def __init__(self, target: int) -> None:
        self._share = _Share()
        self._pool = ThreadPoolExecutor(64)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{target}")
        self._server = grpc.server(self._pool, handlers=[self])
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: Any) -> Any:
        def serve(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            if self._share():
                said = "etcdserver: too many requests"
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
            left = context.time_remaining()  # years, where the client has said nothing
            call = self._channel.stream_stream(details.method)(
                requests,
                metadata=_metadata(details),
                timeout=None if left is None or left > 3600 else left,
            )
            context.add_callback(call.cancel)
            try:
                yield from call
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(serve)

    def begin(self, share: float = 1.0) -> None:
        self._share.value = share

    def end(self) -> None:
        self._share.value = 0.0

    def close(self) -> None:
        self._server.stop(0).wait(5)
        self._channel.close()
        self._pool.shutdown()


def _metadata(details: Any) -> list[tuple[str, str]]:
    return [(key, value) for key, value in details.invocation_metadata if key != "user-agent"]


class Occupants:
    """Clients that take up all connections that a server allows to one address.

    Args:
        port: of the server.
        broken: breaks the connections of the candidates, who then have to connect anew.
    """

    def __init__(self, port: int, broken: Callable[[], None] = lambda: None) -> None:
        self.port, self.broken = port, broken
        self._over = threading.Event()
        self._over.set()
        self._thread: threading.Thread | None = None

    def begin(self, share: float = 1.0) -> None:
        """See `Overload`; it is all or nothing."""
        assert share > 0
        self._over.clear()
        self._thread = threading.Thread(target=self._crowd)
        self._thread.start()
        for _ in range(4):
            time.sleep(0.05)
            self.broken()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    close = end

    def _crowd(self) -> None:
        # Whoever says nothing is let go after a while, and comes back before anybody else does.
        crowd: list[socket.socket] = []
        while not self._over.is_set():
            for one in [each for each in crowd if not _is_open(each)]:
                crowd.remove(one)
                one.close()
            while len(crowd) < 100:
                try:
                    crowd.append(socket.create_connection(("127.0.0.1", self.port), 1))
                except OSError:
                    break
                time.sleep(0.001)
                if not _is_open(crowd[-1]):
                    crowd.pop().close()
                    break
            self._over.wait(0.005)
        for one in crowd:
            one.close()


def _is_open(sock: socket.socket) -> bool:
    sock.settimeout(0)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def overload_of(stand: Stand) -> Overload:
    """What the store of that kind can be overloaded with; it is closed with the stand."""
    made: Overload
    match stand.kind:
        case "consul":
            made = HTTPFront(stand.server.port)
        case "etcd":
            made = GRPCFront(stand.server.port)
        case _:
            made = Occupants(stand.own_server(settings={"maxClientCnxns": 20}).port)
    stand.undo(made.close)
    return made
