"""A TCP proxy that counts bytes in both directions, and the HTTP requests among them."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from typing import Self

__all__ = ["CountingProxy"]

_REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE) /[^\r\n]* HTTP/1\.1\r\n")


class CountingProxy:
    """A proxy on a free port of this machine, inside a `with` block.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._selector = selectors.DefaultSelector()
        self._waker, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._peer: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self.bytes: int = 0
        self.requests: int = 0

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join(5)
        for link in (*self._peer, self._listener, self._waker):
            link.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                link = key.fileobj
                assert isinstance(link, socket.socket)
                if link is self._waker:
                    return
                if link is self._listener:
                    self._accept()
                elif link in self._peer:
                    self._forward(link)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._address, timeout=5)
        except OSError:
            client.close()
            return
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, link: socket.socket) -> None:
        peer = self._peer[link]
        try:
            data = link.recv(65536)
            if data:
                peer.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (link, peer):
                self._selector.unregister(one)
                self._peer.pop(one, None)
                self._clients.discard(one)
                one.close()
            return
        self.bytes += len(data)
        if link in self._clients:
            self.requests += len(_REQUEST.findall(data))
