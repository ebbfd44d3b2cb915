"""Several Consul servers that stand as one, and the wires between them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.servers.consul import ConsulAgent
from tests.servers.owners import owner_of
from tests.servers.process import ServerError
from tests.servers.provision import Server
from tests.servers.proxy import Proxy

__all__ = ["ConsulCluster"]


class ConsulCluster:
    """Consul servers of our own that elect a leader among themselves.

    Attributes:
        nodes: they.
    """

    def __init__(self, server: Server, folder: Path, size: int = 3) -> None:
        self.nodes = [
            ConsulAgent(
                server,
                folder / f"n{number}",
                name=f"n{number}",
                # A node has one port for the others and tells them its address: what they send
                # comes to a proxy there, which knows who is who. Their gossip goes around it.
                config={
                    "bootstrap_expect": size,
                    "retry_interval": "1s",
                    "bind_addr": f"127.0.1.{number}",
                    "advertise_addr": f"127.0.2.{number}",
                    "serf_lan": f"127.0.2.{number}",
                },
            )
            for number in range(1, size + 1)
        ]
        self._wires = {
            node.name: Proxy(
                node.rpc_port,
                f"127.0.1.{number}",
                side_of=self._node_at,
                at=(f"127.0.2.{number}", node.rpc_port),
            )
            for number, node in enumerate(self.nodes, 1)
        }
        peers = [f"127.0.2.{number}:{node.serf_port}" for number, node in enumerate(self.nodes, 1)]
        for node in self.nodes:
            file = node.folder / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "retry_join": peers}))

    @property
    def url(self) -> str:
        """All nodes in one URL."""
        return "consul://" + ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all, and wait until each of them serves sessions."""
        for wire in self._wires.values():
            wire.__enter__()
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    def leader(self) -> ConsulAgent:
        """The node that leads now, as a running node says; raises `ServerError` if none does."""
        for asked in self.nodes:
            try:
                address = asked.request("GET", "/v1/status/leader", timeout=1.0).body
            except (OSError, http.client.HTTPException):
                continue
            for node in self.nodes:
                if str(address).endswith(f":{node.rpc_port}"):
                    return node
        raise ServerError("no node of the cluster knows a leader")

    def followers(self) -> list[ConsulAgent]:
        """The other nodes."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def cut_off(self, node: ConsulAgent) -> None:
        """Hold back all that this node and the others ask each other; clients still reach it.

        They go on gossiping about who is there.
        """
        for name, wire in self._wires.items():
            if name == node.name:
                wire.cut()
            else:
                wire.cut(side=node.name)

    def heal(self) -> None:
        """Let all nodes reach each other again."""
        for wire in self._wires.values():
            wire.heal()

    def remove(self) -> None:
        """Kill all nodes and delete their data."""
        for node in self.nodes:
            node.remove()
        for wire in self._wires.values():
            wire.close()

    def _node_at(self, port: int) -> str:
        running = {node.name: node.process.pid for node in self.nodes if node.process.alive}
        return owner_of(port, running) or ""
