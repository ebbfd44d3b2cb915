"""Who is to be told when a node has changed.

A watch of ZooKeeper's is for one time, and stays at the server until then, whoever has lost
interest. So all watches of a link are one and the same function of kazoo's point of view, and
whom they concern is looked up here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kazoo.protocol.states import EventType

__all__ = ["Bell", "Ring"]

Ring = Callable[[str | None, bool], None]
"""Called with the path that has changed, or None when anything may have; and whether it is gone."""


class Bell:
    """The watches of one link; safe for several threads. Rings with no lock held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rings: dict[str, set[Ring]] = {}

    def hang(self, ring: Ring, path: str) -> None:
        """Ring when a watch of this path fires."""
        with self._lock:
            self._rings.setdefault(path, set()).add(ring)

    def take_down(self, ring: Ring, *paths: str) -> None:
        """Do not ring for these paths any more."""
        with self._lock:
            for path in paths:
                rings = self._rings.get(path)
                if rings is not None:
                    rings.discard(ring)
                    if not rings:
                        del self._rings[path]

    def fired(self, event: Any) -> None:
        """A watch has fired; kazoo calls it, also for the state of the connection."""
        if event.path is not None:  # of the connection, its link tells
            self.ring(event.path, gone=event.type == EventType.DELETED)

    def ring(self, path: str | None = None, *, gone: bool = False) -> None:
        """Ring for one path, or for all."""
        with self._lock:
            if path is not None:
                rings = set(self._rings.get(path, ()))
            else:
                rings = set().union(*self._rings.values())
        for ring in rings:
            ring(path, gone)
