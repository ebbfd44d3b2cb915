"""Several etcd servers that stand as one, and the wires between them."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.servers.etcd import EtcdServer
from tests.servers.owners import owner_of
from tests.servers.process import ServerError
from tests.servers.provision import Server
from tests.servers.proxy import Proxy

__all__ = ["EtcdCluster"]


class EtcdCluster:
    """etcd servers of our own that elect a leader among themselves.

    Attributes:
        nodes: they.
    """

    def __init__(self, server: Server, folder: Path, size: int = 3) -> None:
        self.nodes = [
            EtcdServer(server, folder / name, name=name)
            for name in (f"n{number}" for number in range(1, size + 1))
        ]
        # What the others send to a node comes through a proxy; it knows who is who.
        self._wires = {
            node.name: Proxy(node.peer_port, side_of=self._node_at) for node in self.nodes
        }
        urls = {name: f"http://127.0.0.1:{wire.port}" for name, wire in self._wires.items()}
        everybody = ",".join(f"{name}={url}" for name, url in urls.items())
        for node in self.nodes:
            node.set_options(
                {"initial-cluster": everybody, "initial-advertise-peer-urls": urls[node.name]}
            )

    @property
    def url(self) -> str:
        """All nodes in one URL."""
        return self.nodes[0].url_at(*(node.port for node in self.nodes))

    def start(self) -> None:
        """Start all, and wait until each of them serves."""
        for wire in self._wires.values():
            wire.__enter__()
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    def leader(self) -> EtcdServer:
        """The node that leads the majority; raises `ServerError` if none does.

        One that is cut off may well go on saying that it leads: what counts is the larger term.
        """
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

    def followers(self) -> list[EtcdServer]:
        """The other nodes."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def cut_off(self, node: EtcdServer) -> None:
        """Hold back all that this node and the others send each other; clients still reach it."""
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
