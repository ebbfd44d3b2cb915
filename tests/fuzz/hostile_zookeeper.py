"""Server with wrong answers in ZooKeeper's protocol, and old servers, which know fewer requests."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fuzz.listener import Listener
from tests.support.zookeeper_codec import frame

__all__ = ["SESSION", "Answer", "HostileZooKeeper", "stat", "text"]

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


class Answer(NamedTuple):
    """An answer: its body, an error code or 0, and a wrong length or None."""

    body: bytes = b""
    error: int = 0
    length: int | None = None


Alter = Callable[[str, str, Answer], Answer]
"""Gets the name of a request, its path and a valid answer; returns the answer to send."""


def text(value: str | bytes) -> bytes:
    """A string, or a buffer."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(data)) + data


def stat(zxid: int = 50, *, version: int = 0, owner: int = 0, length: int = 5) -> bytes:
    """The metadata of a node."""
    return struct.pack(">qqqqiiiqiiq", zxid, zxid, 0, 0, version, 0, 0, owner, length, 0, zxid)


class HostileZooKeeper(Listener):
    """A ZooKeeper server with altered answers.

    Args:
        alter: see `Alter`.
        timeout: of sessions, in seconds; None for the requested one.
    """

    def __init__(
        self,
        alter: Alter = lambda _, __, answer: answer,
        *,
        timeout: float | None = None,
    ) -> None:
        self.alter, self.timeout = alter, timeout
        self.asked: list[str] = []
        self._made: str = ""
        super().__init__()

    @property
    def url(self) -> str:
        return f"zk://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            (milliseconds,) = struct.unpack_from(">i", _next(reader), 12)
            if self.timeout is not None:
                milliseconds = int(self.timeout * 1000)
            connection.sendall(
                frame(struct.pack(">iiq", 0, milliseconds, SESSION) + text(b"p" * 16) + b"\0")
            )
            while not self.ended.is_set():
                number, kind = struct.unpack_from(">ii", request := _next(reader))
                answer = self._answer(kind, request[8:])
                body = struct.pack(">iqi", number, _ZXID, answer.error) + answer.body
                length = len(body) if answer.length is None else answer.length
                connection.sendall(struct.pack(">i", length) + body)
                if kind == _CLOSE:
                    return

    def _answer(self, kind: int, body: bytes) -> Answer:
        name = NAMES.get(kind, "?")
        if kind == _PING:
            return Answer()
        path = "" if kind in (_MULTI, _CLOSE) else _text_of(body)
        self.asked.append(name)
        return self.alter(name, path, self._valid(kind, path))

    def _valid(self, kind: int, path: str) -> Answer:
        """The answer of a server with one entry and the latest claim."""
        claim = self._made and path == self._made
        match kind:
            case 4:
                owner = SESSION if claim else 0
                zxid = _ZXID if claim else 50
                return Answer(text(b"value") + stat(zxid, owner=owner))
            case 3:
                return Answer(stat())
            case 8:
                return Answer(_names([self._made.rpartition("/")[2]] if self._made else []))
            case 12:
                return Answer(_names([]) + stat())
            case 9:
                return Answer(text(path))
            case 1 | 15:
                if path.endswith("__lock__"):
                    self._made = path = f"{path}0000000000"
                return Answer(text(path) + (stat(_ZXID, owner=SESSION) if kind == 15 else b""))
            case 14:  # of one successful check
                return Answer(struct.pack(">ibi", 13, 0, 0) + struct.pack(">ibi", -1, 1, -1))
        return Answer()


def _names(names: list[str]) -> bytes:
    return struct.pack(">i", len(names)) + b"".join(map(text, names))


def _text_of(body: bytes) -> str:
    (length,) = struct.unpack_from(">i", body)
    return body[4 : 4 + length].decode()


def _next(reader: Any) -> bytes:
    (length,) = struct.unpack(">i", reader.read(4))
    return bytes(reader.read(length))
