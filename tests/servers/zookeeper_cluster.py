"""Several ZooKeeper servers that stand as one, and the wires between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.servers.owners import owner_of
from tests.servers.ports import free_port
from tests.servers.process import ServerError
from tests.servers.provision import Server
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer

__all__ = ["ZooKeeperCluster"]


class ZooKeeperCluster:
    """ZooKeeper servers of our own that elect a leader among themselves.

    Attributes:
        nodes: they.

    Args:
        server: where java and the jars are.
        folder: for all that they keep.
        size: how many.
        settings: further lines of the configuration of all of them.
    """

    def __init__(
        self, server: Server, folder: Path, size: int = 3, settings: dict[str, Any] | None = None
    ) -> None:
        common = {
            "initLimit": 10,
            "syncLimit": 5,
            "quorumListenOnAllIPs": "false",
            "standaloneEnabled": "false",
        } | (settings or {})
        numbers = range(1, size + 1)
        self.nodes = [
            ZooKeeperServer(server, folder / f"n{number}", settings=common) for number in numbers
        ]
        # A node listens on these two ports, one for its followers, one for their elections; the
        # others reach them through proxies, which know who is who.
        ports = [(free_port(), free_port()) for _ in self.nodes]
        self._wires = [tuple(Proxy(port, side_of=self._node_at) for port in both) for both in ports]
        for own, node in enumerate(self.nodes):
            for other, (quorum, election) in enumerate(self._wires):
                both = ports[own] if other == own else (quorum.port, election.port)
                node.settings[f"server.{other + 1}"] = f"127.0.0.1:{both[0]}:{both[1]}"
            (node.folder / "data").mkdir()
            (node.folder / "data" / "myid").write_text(str(own + 1))

    @property
    def url(self) -> str:
        """All nodes in one URL."""
        return self.nodes[0].url_at(*(node.port for node in self.nodes))

    def start(self) -> None:
        """Start all, and wait until each of them serves."""
        for pair in self._wires:
            for wire in pair:
                wire.__enter__()
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    def leader(self) -> ZooKeeperServer:
        """The node that leads; raises `ServerError` if none says so."""
        for node in self.nodes:
            if node.mode() == "leader":
                return node
        raise ServerError("no node of the ensemble leads it")

    def followers(self) -> list[ZooKeeperServer]:
        """The nodes that follow it."""
        return [node for node in self.nodes if node.mode() == "follower"]

    def cut_off(self, node: ZooKeeperServer) -> None:
        """Hold back all that this node and the others send each other; clients still reach it.

        A follower goes on answering reads for `syncLimit` ticks.
        """
        own = self.nodes.index(node)
        for number, pair in enumerate(self._wires):
            for wire in pair:
                if number == own:
                    wire.cut()
                else:
                    wire.cut(side=str(own))

    def heal(self) -> None:
        """Let all nodes reach each other again."""
        for pair in self._wires:
            for wire in pair:
                wire.heal()

    def remove(self) -> None:
        """Kill all nodes and delete their data."""
        for node in self.nodes:
            node.remove()
        for pair in self._wires:
            for wire in pair:
                wire.close()

    def _node_at(self, port: int) -> str:
        running = {
            str(number): node.process.pid
            for number, node in enumerate(self.nodes)
            if node.process.alive
        }
        return owner_of(port, running) or ""
