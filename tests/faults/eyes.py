"""How the stores are looked at, each by the plainest of its own ways."""

from __future__ import annotations

import base64
import http.client
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.faults.eye_zookeeper import ZooKeeperEye
from tests.faults.witness import Eye, Holder
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd

__all__ = ["ConsulEye", "EtcdEye", "SqliteEye", "open_eye"]

_PATIENCE = 1.0  # seconds; then the next server is asked
_MOST = 200  # revisions that are gone through between two looks


def open_eye(kind: str, url: str, servers: Sequence[Any], key: str) -> Eye:
    """The one for an election; a store that is a file has no servers."""
    if kind == "sqlite":
        return SqliteEye(Path(url.removeprefix("sqlite:///")), key)
    eyes: dict[str, Callable[..., Eye]] = {
        "consul": ConsulEye,
        "etcd": EtcdEye,
        "zookeeper": ZooKeeperEye,
    }
    return eyes[kind](servers, key)


class _Http:
    """One connection to one of several servers; the next one after each `close`."""

    def __init__(self, servers: Sequence[Consul | Etcd]) -> None:
        self._servers, self._turn = servers, 0
        self._connection: http.client.HTTPConnection | None = None

    @property
    def server(self) -> Any:
        """The one whose turn it is."""
        return self._servers[self._turn % len(self._servers)]

    @property
    def fresh(self) -> bool:
        """Whether nothing has been asked yet."""
        return self._connection is None

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        """Return the status, the headers and the JSON document, None where there is none."""
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


class ConsulEye:
    """Asks for the key, consistently, and is answered at once when it changes."""

    def __init__(self, servers: Sequence[Consul], key: str) -> None:
        self._http, self._path = _Http(servers), f"/v1/kv/{quote(key)}?consistent"
        self._index = 0

    def look(self) -> list[Holder | None]:
        headers = {"X-Consul-Token": self._http.server.token}
        path = f"{self._path}&index={self._index}&wait=50ms" if self._index else self._path
        status, told, found = self._http.ask("GET", path, None, headers)
        if status not in {200, 404}:
            raise http.client.HTTPException(f"it says {status}")
        self._index = int(told["X-Consul-Index"])
        # A write by hand over a lock takes the count of locks away, and leaves the session.
        if not found or "Session" not in found[0] or not found[0]["LockIndex"]:
            return [None]
        return [Holder(found[0]["ModifyIndex"], _text(found[0]["Value"] or ""))]

    def close(self) -> None:
        self._http.close()
        self._index = 0


class EtcdEye:
    """Reads the queue, linearizably, and as it was at each revision since the last look."""

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

    def look(self) -> list[Holder | None]:
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
                self._revision = 0  # that is compacted, or of another history: begin anew
            raise
        for one in answer.get("kvs", []):
            # Each is named after its lease; what is not is nobody's claim.
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


class SqliteEye:
    """Reads the entry of the election's key."""

    def __init__(self, file: Path, key: str) -> None:
        self._file, self._key = file, key
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def look(self) -> list[Holder | None]:
        status = self._file.stat()
        if self._identity != (status.st_dev, status.st_ino):
            self.close()  # somebody has put another file there
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
