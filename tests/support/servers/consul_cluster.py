"""A cluster of Consul servers."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from tests.support.servers.cluster import Cluster
from tests.support.servers.consul import ConsulAgent
from tests.support.servers.process import ServerError
from tests.support.servers.provision import Server
from tests.support.servers.proxy import Proxy

__all__ = ["ConsulCluster"]


class ConsulCluster(Cluster[ConsulAgent]):
    """Consul servers; a node that is cut off still takes part in the gossip protocol.

    Args:
        server: where the binary is.
        folder: for all that they keep.
        size: how many.
        direct: without proxies between them, so none can be cut off; for measurements.
        config: further settings of all agents.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        size: int = 3,
        *,
        direct: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        there = "127.0.1" if direct else "127.0.2"  # where the others reach a node
        nodes = [
            ConsulAgent(
                server,
                folder / f"n{number}",
                name=f"n{number}",
                # A node has one port for the others and advertises its address: what they send
                # comes to a proxy there, which knows the sender. Gossip does not pass the proxy.
                config={
                    "bootstrap_expect": size,
                    "retry_interval": "1s",
                    "bind_addr": f"127.0.1.{number}",
                    "advertise_addr": f"{there}.{number}",
                    "serf_lan": f"{there}.{number}",
                    **(config or {}),
                },
            )
            for number in range(1, size + 1)
        ]
        proxies = [
            Proxy(
                node.rpc_port,
                f"127.0.1.{number}",
                side_of=self.node_at,
                at=(f"{there}.{number}", node.rpc_port),
            )
            for number, node in enumerate(nodes, 1)
            if not direct
        ]
        peers = [f"{there}.{number}:{node.serf_port}" for number, node in enumerate(nodes, 1)]
        for node in nodes:
            file = node.folder / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "retry_join": peers}))
        super().__init__(nodes, [[proxy] for proxy in proxies])

    def leader(self) -> ConsulAgent:
        """The leader, according to a running node."""
        for asked in self.nodes:
            try:
                address = asked.request("GET", "/v1/status/leader", timeout=1.0).body
            except (OSError, http.client.HTTPException):
                continue
            for node in self.nodes:
                if str(address).endswith(f":{node.rpc_port}"):
                    return node
        raise ServerError("no node of the cluster knows a leader")
