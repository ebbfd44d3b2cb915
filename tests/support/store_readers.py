"""Readers of an election's holder, one for each kind of store, without this library."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import re
import socket
import sqlite3
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import zookeeper_codec as codec
from tests.support.kubernetes_admin import KubernetesReader
from tests.support.postgres_reader import PostgresReader
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.redis import RedisServer
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.store_observer import Holder, StoreReader

__all__ = [
    "ConsulReader",
    "EtcdReader",
    "RedisReader",
    "SqliteReader",
    "ZooKeeperReader",
    "open_reader",
]


_PATIENCE = 1.0  # seconds; then the next server is asked
_MOST = 200  # revisions that are gone through between two readings


def open_reader(kind: str, url: str, servers: Sequence[Any], key: str) -> StoreReader:
    """Return the reader of an election; a store in a file has no servers."""
    if kind == "sqlite":
        return SqliteReader(Path(url.removeprefix("sqlite:///")), key)
    readers: dict[str, Callable[..., StoreReader]] = {
        "consul": ConsulReader,
        "etcd": EtcdReader,
        "kubernetes": KubernetesReader,
        "postgres": PostgresReader,
        "redis": RedisReader,
        "zookeeper": ZooKeeperReader,
    }
    return readers[kind](servers, key)


class _Http:
    """A connection to one of several servers; after each `close` it uses the next server."""

    def __init__(self, servers: Sequence[Consul | Etcd]) -> None:
        self._servers, self._turn = servers, 0
        self._connection: http.client.HTTPConnection | None = None

    @property
    def server(self) -> Any:
        """The server that is used now."""
        return self._servers[self._turn % len(self._servers)]

    @property
    def fresh(self) -> bool:
        """Whether no request was sent yet."""
        return self._connection is None

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        """Return the status, the headers, and the JSON document or None."""
        if self._connection is None:
            self._connection = self.server._connect(_PATIENCE)
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, headers or {})
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, answer.headers, json.loads(text) if answer.status == 200 else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._turn += 1


class ConsulReader:
    """Reads the key with consistent blocking queries."""

    def __init__(self, servers: Sequence[Consul], key: str) -> None:
        self._http, self._path = _Http(servers), f"/v1/kv/{quote(key)}?consistent"
        self._index = 0

    def read(self) -> list[Holder | None]:
        headers = {"X-Consul-Token": self._http.server.token}
        path = f"{self._path}&index={self._index}&wait=50ms" if self._index else self._path
        status, received, found = self._http.ask("GET", path, None, headers)
        if status not in {200, 404}:
            raise http.client.HTTPException(f"it says {status}")
        self._index = int(received["X-Consul-Index"])
        # A write by hand over a lock takes the count of locks away, and leaves the session.
        if not found or "Session" not in found[0] or not found[0]["LockIndex"]:
            return [None]
        return [Holder(found[0]["ModifyIndex"], _text(found[0]["Value"] or ""))]

    def close(self) -> None:
        self._http.close()
        self._index = 0


class RedisReader:
    """Reads the claim and its session in one script, by a connection of redis-py."""

    _SCRIPT = (
        "local claim = redis.call('HGET', '{leadership}:entries', ARGV[1]) or ''\n"
        "local session = string.match(claim, '^%d+ %- leadership/1 %d+ %x+ (%w+)\\n')\n"
        "local open = session and redis.call('HEXISTS', '{leadership}:sessions', session) == 1\n"
        "return open and claim or ''"
    )

    def __init__(self, servers: Sequence[RedisServer], key: str) -> None:
        self._servers, self._claim = servers, f"{key}/.claim"
        self._turn = 0
        self._client: redis.Redis | None = None

    def read(self) -> list[Holder | None]:
        if self._client is None:
            server = self._servers[self._turn % len(self._servers)]
            self._client = redis.Redis(
                server.host, server.port, socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
            )
        try:
            claim: Any = self._client.eval(self._SCRIPT, 0, self._claim)
        except redis.RedisError as error:
            raise OSError(str(error)) from error
        if not claim:
            return [None]
        header, _, value = claim.partition(b"\n")
        return [Holder(int(header.split(b" ")[0]), value.decode("utf-8", "replace"))]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._turn += 1


class EtcdReader:
    """Reads the queue linearizably, at each revision since the last reading."""

    def __init__(self, servers: Sequence[Etcd], key: str) -> None:
        self._http = _Http(servers)
        self._folder = f"{key}/"
        self._query = {
            "key": _b64(f"{key}/"),
            "range_end": _b64(f"{key}0"),
            "sort_target": "CREATE",
            "sort_order": "ASCEND",
        }
        self._revision = 0
        self._token = ""

    def read(self) -> list[Holder | None]:
        if self._http.fresh:
            self._log_in()
        present, revision = self._range()
        past: list[Holder | None] = []
        if self._revision > 0 and revision - self._revision <= _MOST:
            past = [self._range(one)[0] for one in range(self._revision + 1, revision)]
        self._revision = revision
        return [*past, present]

    def close(self) -> None:
        self._http.close()

    def _range(self, revision: int = 0) -> tuple[Holder | None, int]:
        try:
            answer = self._ask("kv/range", {**self._query, "revision": str(revision)})
        except http.client.HTTPException:
            if revision:
                self._revision = 0  # that is compacted, or of another history: restart
            raise
        for one in answer.get("kvs", []):
            # A claim is named after its lease; other keys are no claims.
            if _text(one["key"]) == f"{self._folder}{int(one.get('lease', 0)):x}":
                holder = Holder(int(one["create_revision"]), _text(one.get("value", "")))
                break
        else:
            holder = None
        return holder, int(answer["header"]["revision"])

    def _log_in(self) -> None:
        server, self._token = self._http.server, ""
        if server.user:
            who = {"name": server.user, "password": server.password}
            self._token = self._ask("auth/authenticate", who)["token"]

    def _ask(self, method: str, body: dict[str, str]) -> Any:
        status, _, found = self._http.ask(
            "POST", f"/v3/{method}", body, {"Authorization": self._token} if self._token else {}
        )
        if found is None:
            raise http.client.HTTPException(f"it says {status}")
        return found


class SqliteReader:
    """Reads the entry of the election's key."""

    def __init__(self, file: Path, key: str) -> None:
        self._file, self._key = file, key
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def read(self) -> list[Holder | None]:
        status = self._file.stat()
        if self._identity != (status.st_dev, status.st_ino):
            self.close()  # the file was replaced
            self._identity = (status.st_dev, status.st_ino)
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"file:{quote(str(self._file))}?mode=ro",
                uri=True,
                timeout=0.2,
                isolation_level=None,
                check_same_thread=False,
            )
        rows = self._connection.execute(
            "SELECT revision, value FROM entries WHERE key = ? AND session IS NOT NULL",
            (self._key,),
        ).fetchall()
        return [Holder(rows[0][0], bytes(rows[0][1]).decode(errors="replace")) if rows else None]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


_PATIENCE = 1.0  # seconds; then the next server is asked
_SESSION = 4000  # ms
_CLAIM = re.compile(r"__lock__(-?\d{10})$", re.ASCII)
_HEADER = struct.Struct(">iqi")  # number of the request, zxid, error
_CZXID = struct.Struct(">q")
_GET_DATA, _GET_CHILDREN, _SYNC, _CLOSE = 4, 8, 9, -11
_NO_NODE = -101


class ZooKeeperReader:
    """Lists the queue after a `sync`, and reads the first claim when it has changed.

    Only from servers that follow: their `sync` passes through the leader, so the two of them are
    a majority of three. A leader that is cut off answers its own clients for a while.
    """

    def __init__(self, servers: Sequence[ZooKeeper], key: str) -> None:
        self._servers, self._folder = servers, f"/{key}"
        self._link: socket.socket | None = None
        self._turns, self._requests = itertools.count(), itertools.count(1)
        self._first, self._holder = "", Holder(0, "")

    def read(self) -> list[Holder | None]:
        if self._link is None:
            self._link = self._connect()
        while True:
            (synced, _), (listed, body) = self._ask(
                self._link, (_SYNC, self._folder), (_GET_CHILDREN, self._folder)
            )
            if synced not in {0, _NO_NODE} or listed not in {0, _NO_NODE}:
                raise ConnectionError(f"errors {synced} and {listed}")
            names = [] if listed else codec.read_strings(body)
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
            value, rest = codec.read_bytes(body)
            self._first = first
            self._holder = Holder(_CZXID.unpack_from(rest)[0], value.decode(errors="replace"))
            return [self._holder]

    def close(self) -> None:
        self._first = ""
        if self._link is None:
            return
        try:
            codec.send(self._link, struct.pack(">ii", next(self._requests), _CLOSE))
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
            codec.connect(link, _SESSION, 0)
        except BaseException:
            link.close()
            raise
        return link

    def _ask(self, link: socket.socket, *requests: tuple[int, str]) -> list[tuple[int, bytes]]:
        """Send all at once; return the error and what follows of each answer."""
        for kind, path in requests:
            name = path.encode()
            body = struct.pack(">iii", next(self._requests), kind, len(name)) + name
            codec.send(link, body if kind == _SYNC else body + b"\0")  # no watch
        answers = []
        for _ in requests:
            answer = codec.read(link)
            _, _, error = _HEADER.unpack_from(answer)
            answers.append((error, answer[_HEADER.size :]))
        return answers
