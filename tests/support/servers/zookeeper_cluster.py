"""An ensemble of ZooKeeper servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.servers.cluster import Cluster
from tests.support.servers.ports import free_port
from tests.support.servers.process import ServerError
from tests.support.servers.provision import Server
from tests.support.servers.proxy import Proxy
from tests.support.servers.zookeeper import ZooKeeperServer

__all__ = ["ZooKeeperCluster"]


class ZooKeeperCluster(Cluster[ZooKeeperServer]):
    """ZooKeeper servers; a follower that is cut off answers reads for `syncLimit` ticks.

    Args:
        server: where java and the jars are.
        folder: for all that they keep.
        size: how many.
        settings: further lines of the configuration of all of them.
        direct: without proxies between them, so none can be cut off; for measurements.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        size: int = 3,
        settings: dict[str, Any] | None = None,
        *,
        direct: bool = False,
    ) -> None:
        common = {
            "initLimit": 10,
            "syncLimit": 5,
            "quorumListenOnAllIPs": "false",
            "standaloneEnabled": "false",
        } | (settings or {})
        numbers = range(1, size + 1)
        nodes = [
            ZooKeeperServer(server, folder / f"n{number}", settings=common) for number in numbers
        ]
        # A node listens on two ports, for its followers and for elections of the ensemble; the
        # others reach them through proxies, which know the sender.
        ports = [(free_port(), free_port()) for _ in nodes]
        proxies = [
            tuple(Proxy(port, side_of=self.node_at) for port in both if not direct)
            for both in ports
        ]
        for own, node in enumerate(nodes):
            for other, own_proxies in enumerate(proxies):
                reached = [] if other == own else [proxy.port for proxy in own_proxies]
                both = reached or ports[other]
                node.settings[f"server.{other + 1}"] = f"127.0.0.1:{both[0]}:{both[1]}"
            (node.folder / "data").mkdir()
            (node.folder / "data" / "myid").write_text(str(own + 1))
        super().__init__(nodes, proxies)

    def leader(self) -> ZooKeeperServer:
        """The node that reports itself as leader."""
        for node in self.nodes:
            if node.mode() == "leader":
                return node
        raise ServerError("no node of the ensemble leads it")

    def followers(self) -> list[ZooKeeperServer]:
        """The nodes that report themselves as followers."""
        return [node for node in self.nodes if node.mode() == "follower"]
