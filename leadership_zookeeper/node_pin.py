"""Pins: temporary children that keep a node from being replaced during a compare-and-set.

ZooKeeper compares only the version of a node, which starts at 0 again when the node is deleted
and created. But it deletes no node that has children. So a compare-and-set creates a pin below
the entry's node, reads the entry then, and deletes the pin in the transaction that writes. If
that succeeds, the node was the same all the time, whatever other clients did meanwhile.
"""

from __future__ import annotations

import uuid
from typing import Any

from kazoo.exceptions import NoChildrenForEphemeralsError, NoNodeError
from kazoo.protocol.serialization import Delete

from leadership_core.backend import ConfigurationError, LeadershipError

from .client import Client
from .nodes import PIN_SUFFIX, KeyValue, create, delete, get_data

__all__ = ["NodePin", "NodePins"]


class NodePins:
    """All pins of one store; thread-safe."""

    def __init__(self) -> None:
        self._orphaned: set[str] = set()

    def new(self, client: Client, path: str) -> NodePin:
        """A pin for a node, which is not set yet."""
        return NodePin(self, client, f"{path}/{uuid.uuid4().hex}{PIN_SUFFIX}")

    def add_orphaned(self, path: str) -> None:
        """Remember a pin that may exist, as its removal is not confirmed."""
        self._orphaned.add(path)

    def remove_orphaned(self, client: Client) -> None:
        """Delete the remembered pins without waiting; they end with their sessions at the latest."""
        for path in list(self._orphaned):
            (pending,) = client.send(delete(path))
            self._orphaned.discard(path)

            def check(answer: Any, path: str = path) -> None:
                if not answer.successful() and not isinstance(answer.exception, NoNodeError):
                    self._orphaned.add(path)

            pending.rawlink(check)


class NodePin:
    """A temporary child of one node.

    Attributes:
        path: of the pin.
        is_set: whether it exists, as far as is known.
        parent_is_ephemeral: whether the node is bound to a session, so it cannot have children.
    """

    def __init__(self, pins: NodePins, client: Client, path: str) -> None:
        self.path = path
        self.is_set: bool = False
        self.parent_is_ephemeral: bool = False
        self._pins = pins
        self._client = client

    @property
    def name(self) -> str:
        """Of the pin's node."""
        return self.path.rpartition("/")[2]

    @property
    def operations(self) -> list[Any]:
        """Operations that delete it in a transaction, which fails if it is gone already."""
        return [Delete(self.path, -1)] if self.is_set else []

    def set(self, doing: str) -> KeyValue | None:
        """Create the pin, and return its parent as it is then; None if that does not exist.

        A majority has confirmed either.

        Args:
            doing: the operation, for the message "cannot ...".

        Raises:
            StoreUnavailable: no answer within the remaining timeout.
        """
        parent = self.path.rpartition("/")[0]
        created, found = self._client.send(
            create(self.path, None, ephemeral=True), get_data(parent)
        )
        try:
            answer = self._client.result(created, doing)
        except ConfigurationError as error:
            if not isinstance(error.__cause__, NoChildrenForEphemeralsError):
                raise
            self.parent_is_ephemeral = True
        except BaseException:
            self._pins.add_orphaned(self.path)
            raise
        else:
            self.is_set = not isinstance(answer, Exception)
        node = KeyValue.parse(parent, self._client.result(found, doing))
        return node if self.is_set or self.parent_is_ephemeral else None

    def remove(self) -> None:
        """Delete it, unless a transaction has done so; failures are remembered for later."""
        if not self.is_set:
            return
        self.is_set = False
        try:
            self._client.request("compare", delete(self.path))
        except LeadershipError:
            self._pins.add_orphaned(self.path)
