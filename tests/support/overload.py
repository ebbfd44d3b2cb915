"""Overload of a store: it rejects a share of all requests, in the way of each kind of server."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc

from tests.support.consul_proxy import ConsulProxy
from tests.support.servers.postgres import PostgresServer
from tests.support.testbed import Testbed

__all__ = ["Overload", "overload_of"]


class Overload(Protocol):
    """Rejects requests in the server, or in a proxy before it.

    Attributes:
        port: where candidates are to connect.
    """

    port: int

    def begin(self, share: float = 1.0) -> None:
        """Reject that share of all requests, from now on."""

    def end(self) -> None:
        """Accept all requests again."""

    def close(self) -> None:
        """Stop."""


class OverloadedEtcd(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """A proxy before etcd that answers as etcd itself does when it has too much to do."""

    def __init__(self, target: int) -> None:
        self._share, self._rng = 0.0, random.Random(34)
        self._pool = ThreadPoolExecutor(64)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{target}")
        self._server = grpc.server(self._pool, handlers=[self])
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: Any) -> Any:
        def serve(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            if self._rng.random() < self._share:
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
        self._share = share

    def end(self) -> None:
        self._share = 0.0

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
        broken: breaks the connections of the candidates, which then have to reconnect.
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
        self._thread = threading.Thread(target=self._occupy)
        self._thread.start()
        for _ in range(4):
            time.sleep(0.05)
            self.broken()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    close = end

    def _occupy(self) -> None:
        # The server drops silent connections after a while; they are replaced at once.
        many: list[socket.socket] = []
        while not self._over.is_set():
            for one in [each for each in many if not _is_open(each)]:
                many.remove(one)
                one.close()
            while len(many) < 100:
                try:
                    many.append(socket.create_connection(("127.0.0.1", self.port), 1))
                except OSError:
                    break
                time.sleep(0.001)
                if not _is_open(many[-1]):
                    many.pop().close()
                    break
            self._over.wait(0.005)
        for one in many:
            one.close()


class FullPostgres:
    """A PostgreSQL that has no connection left for the user of the candidates (SQLSTATE 53300).

    Args:
        server: which.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server, self.port = server, server.port

    def begin(self, share: float = 1.0) -> None:
        """See `Overload`; it is all or nothing."""
        assert share > 0
        self._server.ask(f"ALTER ROLE {self._server.user} CONNECTION LIMIT 0")
        self._server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
            self._server.user,
        )

    def end(self) -> None:
        self._server.ask(f"ALTER ROLE {self._server.user} CONNECTION LIMIT -1")

    def close(self) -> None:
        """Nothing is to be stopped: the server is the scenario's own."""


def _is_open(sock: socket.socket) -> bool:
    sock.settimeout(0)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def overload_of(testbed: Testbed) -> Overload:
    """What the store of that kind can be overloaded with; it is closed with the testbed."""
    made: Overload
    match testbed.kind:
        case "consul":
            made = ConsulProxy(testbed.server)
        case "etcd":
            made = OverloadedEtcd(testbed.server.port)
        case "postgres":
            made = FullPostgres(testbed.own_server())
        case "redis":
            made = Occupants(testbed.own_server(settings={"maxclients": 30}).port)
        case _:
            made = Occupants(testbed.own_server(settings={"maxClientCnxns": 20}).port)
    testbed.undo(made.close)
    return made
