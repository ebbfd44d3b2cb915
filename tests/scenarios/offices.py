"""What an operator can see of an election, and do to it, with the server's own tools."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import NotEmptyError

from tests.scenarios.fleet import await_true
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

__all__ = [
    "ConsulOffice",
    "EtcdOffice",
    "Office",
    "ZooKeeperOffice",
    "kazoo_client",
    "office_of",
]


class Office(Protocol):
    """What an operator sees of an election, and can do to it, with the server's own tools."""

    def holder(self, key: str) -> object:
        """The session of the claim that leads; None if there is no claim."""

    def sessions(self) -> set[object]:
        """All that are alive, whoever has them."""

    def end(self, session: object) -> None:
        """End a session."""

    def end_session(self, key: str) -> None:
        """End the session of the claim that leads."""

    def delete(self, key: str) -> None:
        """Delete the claim that leads."""

    def overwrite(self, key: str, value: str) -> None:
        """Write over the claim that leads, with no session."""

    def delete_all(self, key: str) -> None:
        """Delete the key with all that is below it."""

    def writes(self) -> int:
        """A number that grows with each write, by one."""


class ConsulOffice:
    """An operator of Consul."""

    def __init__(self, consul: Consul) -> None:
        self._consul = consul

    def holder(self, key: str) -> object:
        found = self._consul.request("GET", f"/v1/kv/{key}?consistent").body
        return found[0].get("Session") if found else None

    def sessions(self) -> set[object]:
        return {one["ID"] for one in self._consul.request("GET", "/v1/session/list").body}

    def end(self, session: object) -> None:
        assert self._consul.request("PUT", f"/v1/session/destroy/{session}").status == 200

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._consul.cli("kv", "delete", key)

    def overwrite(self, key: str, value: str) -> None:
        self._consul.cli("kv", "put", key, value)

    def delete_all(self, key: str) -> None:
        self._consul.cli("kv", "delete", "-recurse", key)

    def writes(self) -> int:
        probe = self._consul.request("PUT", "/v1/kv/test/probe", "x")
        assert probe.status == 200
        (entry,) = self._consul.request("GET", "/v1/kv/test/probe").body
        return int(entry["ModifyIndex"])


class EtcdOffice:
    """An operator of etcd."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    def _first(self, key: str) -> dict[str, Any] | None:
        begin, end = (base64.b64encode(f"{key}{c}".encode()).decode() for c in "/0")
        order = {"sort_order": "ASCEND", "sort_target": "CREATE", "limit": "1"}
        asked = {"key": begin, "range_end": end} | order
        found: list[dict[str, Any]] = self._etcd.call("kv/range", asked).get("kvs", [])
        return found[0] if found else None

    def _name(self, key: str) -> str:
        first = self._first(key)
        assert first, f"nobody stands at {key}"
        return base64.b64decode(first["key"]).decode()

    def holder(self, key: str) -> object:
        first = self._first(key)
        return first and int(first.get("lease", 0))

    def sessions(self) -> set[object]:
        listed = self._etcd.cli("lease", "list").stdout.split()
        return {int(word, 16) for word in listed if re.fullmatch(r"[0-9a-f]{16}", word)}

    def end(self, session: object) -> None:
        assert isinstance(session, int)
        self._etcd.revoke(session)

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._etcd.cli("del", self._name(key))

    def overwrite(self, key: str, value: str) -> None:
        self._etcd.cli("put", self._name(key), value)

    def delete_all(self, key: str) -> None:
        self._etcd.cli("del", "--prefix", f"{key}")

    def writes(self) -> int:
        return self._etcd.revision()


class ZooKeeperOffice:
    """An operator of ZooKeeper."""

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self._zookeeper = zookeeper

    def _first(self, key: str) -> tuple[str, int] | None:
        found = [
            (path, session)
            for path, session in self._zookeeper.ephemerals().items()
            if path.rpartition("/")[0] == f"/{key}"
        ]
        return min(found, key=lambda one: one[0][-10:], default=None)

    def _name(self, key: str) -> str:
        # Whoever led may just have lost its node, and stands again in a moment.
        await_true(f"somebody stands at {key}", lambda: self._first(key), 5)
        first = self._first(key)
        assert first, f"nobody stands at {key}"
        return first[0]

    def holder(self, key: str) -> object:
        first = self._first(key)
        return first and first[1]

    def sessions(self) -> set[object]:
        # A store may have further clients, for what is no session of a candidate.
        return set(self._zookeeper.ephemerals().values())

    def end(self, session: object) -> None:
        assert isinstance(session, int)
        self._zookeeper.expire(session)

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        with kazoo_client(self._zookeeper) as client:
            client.delete(self._name(key))

    def overwrite(self, key: str, value: str) -> None:
        with kazoo_client(self._zookeeper) as client:
            client.set(self._name(key), value.encode())

    def delete_all(self, key: str) -> None:
        with kazoo_client(self._zookeeper) as client:
            while True:
                try:
                    client.delete(f"/{key}", recursive=True)
                except NotEmptyError:
                    continue  # one that stands anew was faster
                return

    def writes(self) -> int:
        return self._zookeeper.zxid()


def office_of(server: object) -> Office:
    """The tools that fit a server."""
    match server:
        case Consul():
            return ConsulOffice(server)
        case Etcd():
            return EtcdOffice(server)
        case ZooKeeper():
            return ZooKeeperOffice(server)
        case _:
            raise TypeError(server)


@contextmanager
def kazoo_client(zookeeper: ZooKeeper, timeout: float = 4.0) -> Iterator[Any]:
    """A client of kazoo's own, as any program may have it."""
    client = KazooClient(hosts=f"{zookeeper.host}:{zookeeper.port}", timeout=timeout)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()
