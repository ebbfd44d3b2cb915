"""How ZooKeeper is looked at: its own protocol, by hand, so that no client gets in the way."""

from __future__ import annotations

import itertools
import re
import socket
import struct
from collections.abc import Sequence

from tests.faults.witness import Holder
from tests.servers import zookeeper_wire as wire
from tests.servers.zookeeper import ZooKeeper

__all__ = ["ZooKeeperEye"]

_PATIENCE = 1.0  # seconds; then the next server is asked
_SESSION = 4000  # ms
_CLAIM = re.compile(r"__lock__(-?\d{10})$", re.ASCII)
_HEADER = struct.Struct(">iqi")  # number of the request, zxid, error
_CZXID = struct.Struct(">q")
_GET_DATA, _GET_CHILDREN, _SYNC, _CLOSE = 4, 8, 9, -11
_NO_NODE = -101


class ZooKeeperEye:
    """Lists the queue after a `sync`, and reads the first claim when it is another one.

    Only from servers that follow: their `sync` passes through the leader, so the two of them are
    a majority of three. A leader that is cut off answers its own clients for a while.
    """

    def __init__(self, servers: Sequence[ZooKeeper], key: str) -> None:
        self._servers, self._folder = servers, f"/{key}"
        self._link: socket.socket | None = None
        self._turns, self._requests = itertools.count(), itertools.count(1)
        self._first, self._holder = "", Holder(0, "")

    def look(self) -> list[Holder | None]:
        if self._link is None:
            self._link = self._connect()
        while True:
            (synced, _), (listed, body) = self._ask(
                self._link, (_SYNC, self._folder), (_GET_CHILDREN, self._folder)
            )
            if synced not in {0, _NO_NODE} or listed not in {0, _NO_NODE}:
                raise ConnectionError(f"errors {synced} and {listed}")
            names = [] if listed else _strings(body)
            claims = [(int(found[1]), name) for name in names if (found := _CLAIM.search(name))]
            if not claims:
                return [None]
            _, first = min(claims)
            if first == self._first:
                return [self._holder]
            ((error, body),) = self._ask(self._link, (_GET_DATA, f"{self._folder}/{first}"))
            if error == _NO_NODE:
                continue
            if error:
                raise ConnectionError(f"error {error}")
            value, rest = _bytes(body)
            self._first = first
            self._holder = Holder(_CZXID.unpack_from(rest)[0], value.decode(errors="replace"))
            return [self._holder]

    def close(self) -> None:
        self._first = ""
        if self._link is None:
            return
        try:
            wire._send(self._link, struct.pack(">ii", next(self._requests), _CLOSE))
        except OSError:
            pass  # the session ends by itself
        finally:
            self._link.close()
            self._link = None

    def _connect(self) -> socket.socket:
        server = self._servers[next(self._turns) % len(self._servers)]
        if (mode := server.mode()) not in {"standalone", "follower"}:
            raise ConnectionError(f"{server.port} is {mode or 'away'}")
        link = socket.create_connection((server.host, server.port), _PATIENCE)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire._connect(link, _SESSION, 0)
        except BaseException:
            link.close()
            raise
        return link

    def _ask(self, link: socket.socket, *requests: tuple[int, str]) -> list[tuple[int, bytes]]:
        """Send all at once; return the error and what follows of each answer."""
        for kind, path in requests:
            name = path.encode()
            body = struct.pack(">iii", next(self._requests), kind, len(name)) + name
            wire._send(link, body if kind == _SYNC else body + b"\0")  # no watch
        answers = []
        for _ in requests:
            answer = wire._read(link)
            _, _, error = _HEADER.unpack_from(answer)
            answers.append((error, answer[_HEADER.size :]))
        return answers


def _bytes(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">i", data)
    end = 4 + max(length, 0)
    return data[4:end], data[end:]


def _strings(data: bytes) -> list[str]:
    (count,) = struct.unpack_from(">i", data)
    rest, found = data[4:], []
    for _ in range(count):
        one, rest = _bytes(rest)
        found.append(one.decode())
    return found
