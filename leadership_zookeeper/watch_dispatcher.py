"""Dispatcher of node events to subscribers.

A watch of ZooKeeper fires once, and a client has one function for all watches here: kazoo keeps
watches with equal functions once, and unsubscribing needs no request to the server.
See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkWatches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain
from typing import Any

from kazoo.protocol.states import EventType

__all__ = ["NodeListener", "WatchDispatcher"]

NodeListener = Callable[[str | None, bool], None]
"""Called with the path that has changed, or None if any may have; and whether it was deleted."""


class WatchDispatcher:
    """The watched nodes of one client, and their listeners; thread-safe.

    Listeners are called without a lock held.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[NodeListener, ...]] = {}  # mostly one for a path

    @property
    def paths(self) -> frozenset[str]:
        """The paths with listeners."""
        with self._lock:
            return frozenset(self._listeners)

    def subscribe(self, listener: NodeListener, path: str) -> None:
        """Call a listener when a watch of the path fires."""
        with self._lock:
            listeners = self._listeners.get(path, ())
            if listener not in listeners:
                self._listeners[path] = (*listeners, listener)

    def unsubscribe(self, listener: NodeListener, *paths: str) -> None:
        """Stop calling a listener for these paths."""
        with self._lock:
            for path in paths:
                listeners = self._listeners.pop(path, ())
                left = tuple(one for one in listeners if one != listener)
                if left:
                    self._listeners[path] = left

    def on_event(self, event: Any) -> None:
        """Notify the listeners of the node of a kazoo event; the function of all watches."""
        if event.path is not None:  # the client itself reports changes of the connection
            self.notify(event.path, deleted=event.type == EventType.DELETED)

    def notify(self, path: str | None = None, *, deleted: bool = False) -> None:
        """Notify the listeners of one path, or of all."""
        with self._lock:
            if path is not None:
                listeners = self._listeners.get(path, ())
            else:
                listeners = tuple(dict.fromkeys(chain.from_iterable(self._listeners.values())))
        for listener in listeners:
            listener(path, deleted)
