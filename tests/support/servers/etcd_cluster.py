"""A cluster of etcd servers."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.support.servers.cluster import Cluster
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.process import ServerError
from tests.support.servers.provision import Server
from tests.support.servers.proxy import Proxy

__all__ = ["EtcdCluster"]


class EtcdCluster(Cluster[EtcdServer]):
    """A cluster of etcd servers.

    Args:
        server: where the binaries are.
        folder: for all that they keep.
        size: how many.
        direct: without proxies between them, so none can be cut off; for measurements.
    """

    def __init__(
        self, server: Server, folder: Path, size: int = 3, *, direct: bool = False
    ) -> None:
        names = [f"n{number}" for number in range(1, size + 1)]
        nodes = [EtcdServer(server, folder / name, name=name) for name in names]
        # What the others send to a node comes through a proxy, which knows the sender.
        proxies = [Proxy(node.peer_port, side_of=self.node_at) for node in nodes if not direct]
        ports = [node.peer_port for node in nodes] if direct else [one.port for one in proxies]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        members = ",".join(f"{name}={url}" for name, url in zip(names, urls, strict=True))
        for node, url in zip(nodes, urls, strict=True):
            node.set_options({"initial-cluster": members, "initial-advertise-peer-urls": url})
        super().__init__(nodes, [[proxy] for proxy in proxies])

    def leader(self) -> EtcdServer:
        """The leader of the majority; an isolated one reports itself as leader of an older term."""
        found: dict[int, str] = {}
        members: dict[str, EtcdServer] = {}
        for node in self.nodes:
            try:
                status = node.call("maintenance/status", {}, timeout=1.0)
            except (OSError, http.client.HTTPException):
                continue
            members[status["header"]["member_id"]] = node
            if int(status.get("leader", 0)):
                found[int(status["raftTerm"])] = status["leader"]
        if not found or found[max(found)] not in members:
            raise ServerError("no node of the cluster leads it")
        return members[found[max(found)]]
