"""The store that a run measures: its address for all contenders, and its own counters."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from leadership_core import StoreURL

__all__ = ["Count", "Target", "count_at", "version_of_server"]

_PORTS = {
    "consul": 8500,
    "etcd": 2379,
    "zk": 2181,
    "postgresql": 5432,
    "redis": 6379,
    "kubernetes": 443,
}
_SAME = {
    "zookeeper": "zk",
    "postgres": "postgresql",
    "rediss": "redis",
    "redis+sentinel": "redis",
}
"""Schemes with a second name, which is that of the tables."""
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """A store of the run.

    Attributes:
        scheme: of the store: one name for each kind.
        url: the text of the URL, with its secrets.
        shown: the URL without secrets.
        host: of its first server; or the path of the file.
        port: of its first server; 0 for a file, -1 if it is not known.
        ttl: seconds, as all contenders use it.
        plain: why other libraries cannot be measured at this address; empty if they can.
        version: of the server.
    """

    scheme: str
    url: str
    shown: str
    host: str
    port: int
    ttl: float
    plain: str = ""
    version: str = ""

    @classmethod
    def of(cls, url: StoreURL, text: str, ttl: float) -> Target:
        """Describe the store of a URL."""
        scheme = _SAME.get(url.scheme, url.scheme)
        if scheme == "sqlite":
            path = (
                f"/{url.path}" if not url.path.startswith("/") and text[10:11] == "/" else url.path
            )
            return cls(scheme, text, str(url), path, 0, ttl)
        if scheme == "kubernetes":
            problem = "credentials and address are those of a kubeconfig file or a pod"
            # A kubeconfig keeps the name in the certificate, whatever address the URL has.
            if len(url.hosts) != 1 or not {"kubeconfig", "context"} & url.options.keys():
                return cls(scheme, text, str(url), "", -1, ttl, problem)
            host = url.with_default_port(_PORTS[scheme]).hosts[0]
            return cls(scheme, text, str(url), host.name, host.port or 0, ttl, problem)
        host = url.with_default_port(_PORTS.get(scheme, 0)).hosts[0]
        problem = ""
        if url.scheme == "redis+sentinel":
            problem = (
                "the address is that of a Sentinel, which the bench asks for this library only"
            )
        elif url.tls or url.scheme == "rediss":
            problem = "the URL has TLS, which the bench sets up for this library only"
        elif scheme == "postgresql":
            pass  # the other players take the whole URL
        elif url.username or url.password or any("token" in name for name in url.options):
            problem = "the URL has a password, which the bench passes to this library only"
        return cls(scheme, text, str(url), host.name, host.port or 0, ttl, problem)

    def through(self, port: int) -> Target:
        """The same store by a proxy on this machine."""
        shown = self.url.replace(f"{self.host}:{self.port}", f"127.0.0.1:{port}")
        return Target(
            self.scheme, shown, self.shown, "127.0.0.1", port, self.ttl, self.plain, self.version
        )

    @property
    def is_local(self) -> bool:
        """Whether it is a file, or the address is one of loopback."""
        return self.port == 0 or self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def can_have_proxy(self) -> bool:
        """Whether the address can be replaced by that of a proxy."""
        is_possible = not self.plain or self.scheme == "kubernetes"
        return self.port > 0 and is_possible and self.url.count(f"{self.host}:{self.port}") == 1

    @property
    def why_no_proxy(self) -> str:
        """The reason where it cannot, with the cure."""
        if self.scheme == "kubernetes":
            return (
                "no proxy can be put before an address that is not in the URL: give it one server with its port, beside "
                "kubeconfig= or context="
            )
        return "no proxy can be put before a URL with TLS or several servers"


@dataclass(frozen=True, slots=True)
class Count:
    """What a server has counted since its start; None where it does not say."""

    requests: float | None = None
    writes: float | None = None


def count_at(target: Target) -> Count:
    """Ask the server for its counters."""
    ask = _COUNTERS.get(target.scheme)
    if ask is None or target.plain:
        return Count()
    try:
        return ask(target)
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return Count()


def version_of_server(target: Target) -> str:
    """The version that the server reports; empty if it does not say."""
    ask = _VERSIONS.get(target.scheme)
    if ask is None or target.plain:
        return ""
    try:
        return ask(target)
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return ""


def _get(target: Target, path: str) -> str:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status}")
        return answer.read().decode()
    finally:
        connection.close()


def _ask(target: Target, word: str) -> str:
    with socket.create_connection((target.host, target.port), timeout=_SECONDS) as link:
        link.sendall(word.encode())
        return b"".join(iter(partial(link.recv, 65536), b"")).decode(errors="replace")


def _etcd(target: Target) -> Count:
    text = _get(target, "/metrics")
    requests = sum(
        map(float, re.findall(r"^grpc_server_msg_received_total\{.*\} (\S+)$", text, re.MULTILINE))
    )
    applied = re.search(r"^etcd_server_proposals_applied_total (\S+)$", text, re.MULTILINE)
    return Count(requests, float(applied[1]) if applied else None)


def _zookeeper(target: Target) -> Count:
    received = re.search(r"^Received: (\d+)$", served := _ask(target, "srvr"), re.MULTILINE)
    zxid = re.search(r"^Zxid: 0x([0-9a-f]+)$", served, re.MULTILINE)
    return Count(
        float(received[1]) if received else None, float(int(zxid[1], 16)) if zxid else None
    )


def _consul(target: Target) -> Count:
    stats = json.loads(_get(target, "/v1/agent/self"))["Stats"]
    return Count(None, float(stats["raft"]["applied_index"]))


def _postgresql(target: Target) -> Count:
    """Transactions of the database; the server counts them up to a second late."""
    done = _query(
        target,
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
    )
    return Count(float(done), None)


def _query(target: Target, sql: str) -> str:
    import psycopg  # only here: it is a driver of one store

    url = urlsplit(target.url)
    conninfo = urlunsplit(("postgresql", url.netloc, url.path, "", ""))
    try:
        with psycopg.connect(conninfo, connect_timeout=2, autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
    except psycopg.Error as error:
        raise ValueError("it does not say") from error
    return str(row[0]) if row else ""


def _redis(target: Target) -> Count:
    text = _ask(target, "INFO\r\nQUIT\r\n")
    found = re.search(r"total_commands_processed:(\d+)", text)
    return Count(float(found[1]) if found else None, None)


_COUNTERS: dict[str, Callable[[Target], Count]] = {
    "etcd": _etcd,
    "zk": _zookeeper,
    "consul": _consul,
    "postgresql": _postgresql,
    "redis": _redis,
}


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


_VERSIONS: dict[str, Callable[[Target], str]] = {
    "etcd": lambda target: str(json.loads(_get(target, "/version"))["etcdserver"]),
    "zk": lambda target: _found(r"version: ([\d.]+)", _ask(target, "srvr")),
    "consul": lambda target: str(json.loads(_get(target, "/v1/agent/self"))["Config"]["Version"]),
    "postgresql": lambda target: _query(target, "SHOW server_version"),
    "redis": lambda target: _found(r"redis_version:(\S+)", _ask(target, "INFO\r\nQUIT\r\n")),
}
