"""Counter of requests in a client's traffic: HTTP/1, gRPC, ZooKeeper, PostgreSQL and Redis."""

from __future__ import annotations

import re
import struct

__all__ = ["RequestCounter"]

_HTTP = re.compile(rb"(?:GET|PUT|POST|DELETE) \S+ HTTP/1")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS = 1  # the type of the frame that a request of HTTP/2 begins with
_PING = -2  # the number of what keeps a session of ZooKeeper alive, which is no request
_SYNC = 9  # the type of what only goes before the request that is to see all that was written
_SSL_REQUEST = 80877103
_STARTUPS = (196608, 196610)  # the versions of PostgreSQL's protocol; after it, messages have types
_QUERIES = b"QS"  # the types of a simple query, and of the end of an extended one
_RESP = re.compile(rb"([*$])(\d+)\r\n")


class RequestCounter:
    """Counts the requests on one connection, whose protocol is recognised by its first bytes."""

    def __init__(self) -> None:
        self._rest = b""
        self._protocol = ""

    def count(self, data: bytes) -> int:
        """Return how many requests begin in these bytes."""
        self._rest += data
        if not self._protocol:
            self._protocol = self._recognise()
        match self._protocol:
            case "http":
                return self._count_http()
            case "grpc":
                return self._count_grpc()
            case "zookeeper":
                return self._count_zookeeper()
            case "postgres":
                return self._count_postgres()
            case "redis":
                return self._count_redis()
            case _:
                return 0

    def _recognise(self) -> str:
        if self._rest.startswith(_PREFACE):
            self._rest = self._rest[len(_PREFACE) :]
            return "grpc"
        if self._rest[:1] == b"*":
            return "redis"
        if self._rest[:1] == b"\0" and len(self._rest) >= 8:
            size, what = struct.unpack(">ii", self._rest[:8])
            if what == _SSL_REQUEST or what in _STARTUPS:
                if len(self._rest) < size:
                    return ""
                self._rest = self._rest[size:]
                return "postgres" if what in _STARTUPS else self._recognise()
            if len(self._rest) < 4 + size:
                return ""
            self._rest = self._rest[4 + size :]  # what opens or takes up a session
            return "zookeeper"
        return "http" if self._rest[:1] in {b"G", b"D"} or self._rest[:2] in {b"PU", b"PO"} else ""

    def _count_http(self) -> int:
        found = list(_HTTP.finditer(self._rest))
        self._rest = self._rest[found[-1].end() if found else 0 :][-4096:]
        return len(found)

    def _count_grpc(self) -> int:
        count = 0
        while len(self._rest) >= 9:
            size = int.from_bytes(self._rest[:3])
            if len(self._rest) < 9 + size:
                break
            count += self._rest[3] == _HEADERS
            self._rest = self._rest[9 + size :]
        return count

    def _count_zookeeper(self) -> int:
        count = 0
        while len(self._rest) >= 12:
            size, number, kind = struct.unpack(">iii", self._rest[:12])
            if len(self._rest) < 4 + size:
                break
            count += number != _PING and kind != _SYNC
            self._rest = self._rest[4 + size :]
        return count

    def _count_postgres(self) -> int:
        count = 0
        while len(self._rest) >= 5:
            size = int.from_bytes(self._rest[1:5])
            if len(self._rest) < 1 + size:
                break
            count += self._rest[0] in _QUERIES
            self._rest = self._rest[1 + size :]
        return count

    def _count_redis(self) -> int:
        count = 0
        while found := _RESP.match(self._rest):
            end = found.end()
            if found[1] == b"*":  # a command, which is followed by its words
                count += 1
            else:
                end += int(found[2]) + 2
            if len(self._rest) < end:
                break
            self._rest = self._rest[end:]
        return count
