"""Several Consul servers that stand as one."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.servers.consul import ConsulAgent
from tests.servers.process import ServerError
from tests.servers.provision import Server

__all__ = ["ConsulCluster"]


class ConsulCluster:
    """Consul servers of our own that elect a leader among themselves."""

    def __init__(self, server: Server, folder: Path, size: int = 3) -> None:
        self.nodes = [
            ConsulAgent(
                server,
                folder / f"n{number}",
                name=f"n{number}",
                config={"bootstrap_expect": size, "retry_interval": "1s"},
            )
            for number in range(1, size + 1)
        ]
        peers = [f"127.0.0.1:{node.serf_port}" for node in self.nodes]
        for node in self.nodes:
            file = node.folder / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "retry_join": peers}))

    @property
    def url(self) -> str:
        """All nodes in one URL."""
        return "consul://" + ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all, and wait until each of them serves sessions."""
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
                if address == f"127.0.0.1:{node.rpc_port}":
                    return node
        raise ServerError("no node of the cluster knows a leader")

    def followers(self) -> list[ConsulAgent]:
        """The other nodes."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def remove(self) -> None:
        """Kill all nodes and delete their data."""
        for node in self.nodes:
            node.remove()
