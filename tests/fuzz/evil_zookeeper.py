"""A server that speaks as much of ZooKeeper's protocol as it takes to answer wrongly.

It is no ZooKeeper and proves nothing about one: it is where wrong answers come from, and old servers,
which know fewer requests than we send.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

__all__ = ["SESSION", "EvilZooKeeper", "Said", "frame", "stat", "text"]

SESSION = 0x1234
_ZXID = 100

_PING, _CREATE, _DELETE, _EXISTS, _GET, _CHILDREN, _SYNC, _CHILDREN2, _MULTI, _CREATE2, _CLOSE = (
    11, 1, 2, 3, 4, 8, 9, 12, 14, 15, -11,
)  # fmt: skip
NAMES = {
    _PING: "ping", _CREATE: "create", _DELETE: "delete", _EXISTS: "exists", _GET: "get",
    _CHILDREN: "children", _SYNC: "sync", _CHILDREN2: "children", _MULTI: "multi",
    _CREATE2: "create2", _CLOSE: "close",
}  # fmt: skip


class Said(NamedTuple):
    """An answer: an error of ZooKeeper's or 0, what follows, and perhaps a length that is wrong."""

    body: bytes = b""
    error: int = 0
    length: int | None = None


Twist = Callable[[str, str, Said], Said]
"""Gets the name of a request, its path, and a plausible answer; returns what is sent."""


def text(value: str | bytes) -> bytes:
    """A string, or a buffer."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(data)) + data


def stat(zxid: int = 50, *, version: int = 0, owner: int = 0, length: int = 5) -> bytes:
    """What is told of a node beside its data."""
    return struct.pack(">qqqqiiiqiiq", zxid, zxid, 0, 0, version, 0, 0, owner, length, 0, zxid)


def frame(body: bytes) -> bytes:
    """With its length before it."""
    return struct.pack(">i", len(body)) + body


class EvilZooKeeper:
    """Listens on a port of loopback until it is closed; a thread for each connection.

    Args:
        twist: see `Twist`.
        timeout: of sessions, in seconds; None for what is asked for.
    """

    def __init__(
        self,
        twist: Twist = lambda _, __, said: said,
        *,
        timeout: float | None = None,
    ) -> None:
        self.twist, self.timeout = twist, timeout
        self.asked: list[str] = []
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._made: str = ""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"zk://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5.0)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with connection, connection.makefile("rb") as reader:
                asked = _next(reader)
                (milliseconds,) = struct.unpack_from(">i", asked, 12)
                if self.timeout is not None:
                    milliseconds = int(self.timeout * 1000)
                connection.sendall(
                    frame(struct.pack(">iiq", 0, milliseconds, SESSION) + text(b"p" * 16) + b"\0")
                )
                while not self._ended.is_set():
                    number, kind = struct.unpack_from(">ii", request := _next(reader))
                    said = self._answer(kind, request[8:])
                    body = struct.pack(">iqi", number, _ZXID, said.error) + said.body
                    length = len(body) if said.length is None else said.length
                    connection.sendall(struct.pack(">i", length) + body)
                    if kind == _CLOSE:
                        return
        except (OSError, ValueError, struct.error):
            pass  # the client has given up
        finally:
            self._open.discard(connection)

    def _answer(self, kind: int, body: bytes) -> Said:
        name = NAMES.get(kind, "?")
        if kind == _PING:
            return Said()
        path = "" if kind in (_MULTI, _CLOSE) else _text_of(body)
        self.asked.append(name)
        return self.twist(name, path, self._plausible(kind, path))

    def _plausible(self, kind: int, path: str) -> Said:
        """As in a ZooKeeper where there is one entry, and each claim that is made."""
        claim = self._made and path == self._made
        match kind:
            case 4:
                owner = SESSION if claim else 0
                zxid = _ZXID if claim else 50
                return Said(text(b"value") + stat(zxid, owner=owner))
            case 3:
                return Said(stat())
            case 8:
                return Said(_names([self._made.rpartition("/")[2]] if self._made else []))
            case 12:
                return Said(_names([]) + stat())
            case 9:
                return Said(text(path))
            case 1 | 15:
                if path.endswith("__lock__"):
                    self._made = path = f"{path}0000000000"
                return Said(text(path) + (stat(_ZXID, owner=SESSION) if kind == 15 else b""))
            case 14:  # of one check that held
                return Said(struct.pack(">ibi", 13, 0, 0) + struct.pack(">ibi", -1, 1, -1))
        return Said()


def _names(names: list[str]) -> bytes:
    return struct.pack(">i", len(names)) + b"".join(map(text, names))


def _text_of(body: bytes) -> str:
    (length,) = struct.unpack_from(">i", body)
    return body[4 : 4 + length].decode()


def _next(reader: Any) -> bytes:
    (length,) = struct.unpack(">i", reader.read(4))
    return bytes(reader.read(length))
