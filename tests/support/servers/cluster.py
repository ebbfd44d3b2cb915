"""Base of all clusters: the nodes, and the proxies between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from tests.support.servers.connection_owners import owner_of
from tests.support.servers.proxy import Proxy

__all__ = ["Cluster"]


_Node = TypeVar("_Node", bound=Any)


class Cluster(Generic[_Node]):
    """Servers that elect a leader among themselves.

    Attributes:
        nodes: the servers.

    Args:
        nodes: not started yet.
        proxies: for each node, those that the other nodes reach it through. Each names the side of
            a connection by `node_at`.
    """

    def __init__(self, nodes: Sequence[_Node], proxies: Sequence[Sequence[Proxy]]) -> None:
        self.nodes = list(nodes)
        self._proxies = proxies

    @property
    def url(self) -> str:
        """A URL with all nodes."""
        return str(self.nodes[0].url_at(*(node.port for node in self.nodes)))

    def start(self) -> None:
        """Start all nodes, and wait until each of them serves."""
        for own in self._proxies:
            for proxy in own:
                proxy.__enter__()
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    def leader(self) -> _Node:
        """The node that leads the others.

        Raises:
            ServerError: there is none.
        """
        raise NotImplementedError

    def followers(self) -> list[_Node]:
        """The other nodes."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def cut_off(self, node: _Node) -> None:
        """Hold back all traffic between this node and the others; clients still reach it."""
        cut = self.nodes.index(node)
        for number, own in enumerate(self._proxies):
            for proxy in own:
                if number == cut:
                    proxy.cut()
                else:
                    proxy.cut(side=str(cut))

    def heal(self) -> None:
        """Let all nodes reach each other again."""
        for own in self._proxies:
            for proxy in own:
                proxy.heal()

    def remove(self) -> None:
        """Kill all nodes and delete their data."""
        for node in self.nodes:
            node.remove()
        for own in self._proxies:
            for proxy in own:
                proxy.close()

    def node_at(self, port: int) -> str:
        """The number of the node that connects from that port; empty if there is none."""
        running = {
            str(number): node.process.pid
            for number, node in enumerate(self.nodes)
            if node.process.alive
        }
        return owner_of(port, running) or ""
