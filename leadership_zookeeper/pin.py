"""Keeps a node from being deleted and made again while its entry is compared and written.

ZooKeeper compares the version of a node, which begins anew when a node is made, and nothing else.
But it deletes no node that has another one below it. So whoever compares puts a node of its own
below the entry's, reads the entry then, and deletes that node in the transaction that writes. If
that succeeds, the entry's node has been the same one all the time, whoever else writes there.
"""

from __future__ import annotations

import uuid
from typing import Any

from kazoo.exceptions import NoChildrenForEphemeralsError, NoNodeError
from kazoo.protocol.serialization import Delete

from leadership_core.errors import ConfigurationError, LeadershipError

from .link import Link
from .nodes import PIN, Node, create, delete, read

__all__ = ["Pin", "Pins"]


class Pins:
    """All pins of one store; safe for several threads."""

    def __init__(self) -> None:
        self._loose: set[str] = set()

    def on(self, link: Link, path: str) -> Pin:
        """A pin for a node, which is not set yet."""
        return Pin(self, link, f"{path}/{uuid.uuid4().hex}{PIN}")

    def lose(self, path: str) -> None:
        """That one may be there, and has not been taken away for certain."""
        self._loose.add(path)

    def sweep(self, link: Link) -> None:
        """Take away what was lost, as well as can be; it goes with its session at the latest."""
        for path in list(self._loose):
            (pending,) = link.send(delete(path))
            self._loose.discard(path)
            pending.rawlink(lambda answer, path=path: self._swept(answer, path))

    def _swept(self, answer: Any, path: str) -> None:
        if not answer.successful() and not isinstance(answer.exception, NoNodeError):
            self._loose.add(path)


class Pin:
    """One node below another one, for a moment.

    Attributes:
        is_set: whether it is there, as far as we know.
        bound: whether the other one is bound to a session, and takes no pins.
    """

    def __init__(self, pins: Pins, link: Link, path: str) -> None:
        self.path = path
        self.is_set = False
        self.bound = False
        self._pins = pins
        self._link = link

    @property
    def name(self) -> str:
        """Of its node."""
        return self.path.rpartition("/")[2]

    @property
    def steps(self) -> list[Any]:
        """What takes it away, in a transaction that is to fail if it is gone already."""
        return [Delete(self.path, -1)] if self.is_set else []

    def set(self, doing: str) -> Node | None:
        """Set it, and return the node as it is then; None if it is not there.

        Either is what a majority has confirmed.
        """
        above = self.path.rpartition("/")[0]
        made, found = self._link.send(create(self.path, None, ephemeral=True), read(above))
        try:
            answer = self._link.answer(made, doing)
        except ConfigurationError as error:
            if not isinstance(error.__cause__, NoChildrenForEphemeralsError):
                raise
            self.bound = True
        except BaseException:
            self._pins.lose(self.path)
            raise
        else:
            self.is_set = not isinstance(answer, Exception)
        node = Node.of(above, self._link.answer(found, doing))
        return node if self.is_set or self.bound else None

    def take_away(self) -> None:
        """Remove it, as well as can be, unless a transaction has done that."""
        if not self.is_set:
            return
        self.is_set = False
        try:
            self._link.ask("compare", delete(self.path))
        except LeadershipError:
            self._pins.lose(self.path)
