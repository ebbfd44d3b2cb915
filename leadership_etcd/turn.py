"""What a claim listens to: its own key, and that of the claim next before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from leadership_core.delivery import WatchDelivery
from leadership_core.errors import StoreUnavailable

from .messages import is_deletion
from .stream import Watch
from .watcher import Watcher

__all__ = ["Turn"]


class Turn:
    """Wakes when the standing of a claim may have changed; closed from any thread.

    Of a thousand that wait, one hears of it when the leader goes.

    Attributes:
        gone: etcd has told that the claim's own key was deleted, which is for good: whatever is
            there later has another create revision.

    Args:
        watcher: who watches.
        own: the claim's key.
        token: its create revision.
        wake: called for everything that happens.
    """

    def __init__(self, watcher: Watcher, own: bytes, token: int, wake: Callable[[], None]) -> None:
        self._watcher = watcher
        self._delivery: WatchDelivery[None] = WatchDelivery(lambda _: wake(), self._leave)
        self._lock = threading.Lock()
        self._closed = False
        self._ahead: Watch | None = None
        self._name, self._token = own, token
        self.gone = False
        watcher.add_delivery(self._delivery)
        self._own = watcher.open(own, b"", token, self)

    def follow(self, key: bytes | None, after: int) -> None:
        """Listen to this claim, too, and to no other any more; None if it leads.

        Args:
            key: of the claim next before.
            after: the revision as of which it is that; what has happened since is told.
        """
        with self._lock:
            before = self._ahead
            if self._closed or key == (None if before is None else before.key):
                return
            self._ahead = None if key is None else self._watcher.open(key, b"", after, self)
        if before is not None:
            before.close()

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()

    def _leave(self) -> None:
        with self._lock:
            self._closed = True
            watches = [watch for watch in (self._own, self._ahead) if watch is not None]
        for watch in watches:
            watch.close()

    def changed(self, events: Sequence[Any]) -> None:
        for event in events:
            if event.kv.key == self._name and is_deletion(event):
                self.gone = self.gone or event.kv.mod_revision > self._token
        self._delivery.publish(None)

    def gap(self) -> None:
        self._delivery.publish(None)

    def away(self, error: StoreUnavailable) -> None:
        pass  # the renewals notice by themselves

    def back(self) -> None:
        pass  # what has happened meanwhile comes as events
