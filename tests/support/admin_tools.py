"""An operator's access to an election: the server's own key-value and session tools."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import redis
from kazoo.client import KazooClient
from kazoo.exceptions import NotEmptyError

from tests.support.kubernetes_admin import KubernetesAdmin
from tests.support.postgres_admin import PostgresAdmin
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.kubernetes import Kubernetes
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until

__all__ = [
    "AdminTools",
    "ConsulAdmin",
    "EtcdAdmin",
    "RedisAdmin",
    "ZooKeeperAdmin",
    "admin_of",
    "kazoo_client",
]


class AdminTools(Protocol):
    """The state of one election, and what an operator can do to it."""

    def holder(self, key: str) -> object:
        """The session of the claim that leads; None if there is no claim."""

    def sessions(self) -> set[object]:
        """The ids of all open sessions, of any client."""

    def end(self, session: object) -> None:
        """End a session."""

    def end_session(self, key: str) -> None:
        """End the session of the claim that leads."""

    def delete(self, key: str) -> None:
        """Delete the claim that leads."""

    def overwrite(self, key: str, value: str) -> None:
        """Overwrite the claim that leads, without a session."""

    def delete_all(self, key: str) -> None:
        """Delete the key and everything below it."""

    def writes(self) -> int:
        """A number that each write increments."""


class ConsulAdmin:
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


class EtcdAdmin:
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
        assert first, f"there is no claim at {key}"
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


class RedisAdmin:
    """An operator of Redis; the keys are those of the tag `leadership`."""

    def __init__(self, server: RedisServer) -> None:
        self._redis: Any = redis.Redis(server.host, server.port, decode_responses=True)

    def holder(self, key: str) -> object:
        claim = self._redis.hget("{leadership}:entries", f"{key}/.claim")
        return claim and claim.partition("\n")[0].split(" ")[-1]

    def sessions(self) -> set[object]:
        return set(self._redis.hkeys("{leadership}:sessions"))

    def end(self, session: object) -> None:
        self._redis.hdel("{leadership}:sessions", session)

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._redis.hdel("{leadership}:entries", f"{key}/.claim")

    def overwrite(self, key: str, value: str) -> None:
        self._redis.hset("{leadership}:entries", f"{key}/.claim", f"1 - {value}")

    def delete_all(self, key: str) -> None:
        self.delete(key)
        self._redis.hdel("{leadership}:entries", key)

    def writes(self) -> int:
        return int(self._redis.get("{leadership}:revision") or 0)


class ZooKeeperAdmin:
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
        # The leader may just have lost its node; its next claim follows in a moment.
        wait_until(lambda: self._first(key), 5, f"there is a claim at {key}")
        first = self._first(key)
        assert first, f"there is no claim at {key}"
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
                    continue  # a new claim was faster
                return

    def writes(self) -> int:
        return self._zookeeper.zxid()


def admin_of(server: object) -> AdminTools:
    """Return the tools for the server."""
    match server:
        case Consul():
            return ConsulAdmin(server)
        case Etcd():
            return EtcdAdmin(server)
        case Kubernetes():
            return KubernetesAdmin(server)
        case PostgresServer():
            return PostgresAdmin(server)
        case RedisServer():
            return RedisAdmin(server)
        case ZooKeeper():
            return ZooKeeperAdmin(server)
        case _:
            raise TypeError(server)


@contextmanager
def kazoo_client(zookeeper: ZooKeeper, timeout: float = 4.0) -> Iterator[Any]:
    """A plain kazoo client."""
    client = KazooClient(hosts=f"{zookeeper.host}:{zookeeper.port}", timeout=timeout)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()
