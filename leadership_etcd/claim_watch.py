"""Watch of a claim: of its own key, and of the key of the claim before it.

etcd's own clients do the same, and so only the next candidate is woken when one leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from leadership_core.backend import StoreUnavailable, WatchDelivery

from .rpc import WatchEvent
from .watch import Watcher
from .watch_stream import Watch

__all__ = ["ClaimWatch"]


class ClaimWatch:
    """Calls `wake` whenever the status of a claim may have changed; thread-safe.

    Attributes:
        deleted: etcd has reported that the claim's own key was deleted, which is final: a key that
            is created later has another create revision.

    Args:
        watcher: of the store.
        claim_key: the claim's own key.
        token: its create revision.
        wake: called in a thread of gRPC or of the watcher; must not wait.

    Raises:
        StoreClosed: the store was closed.
    """

    never_waits = True  # it sets flags, and lets the engine start a read

    def __init__(
        self, watcher: Watcher, claim_key: bytes, token: int, wake: Callable[[], None]
    ) -> None:
        self._watcher = watcher

        def stop() -> None:
            with self._lock:
                self._closed = True
                watches = [watch for watch in (self._own, self._predecessor) if watch is not None]
            for watch in watches:
                watch.close()

        self._delivery: WatchDelivery[None] = WatchDelivery(lambda _: wake(), stop)
        self._lock = threading.Lock()
        self._closed = False
        self._predecessor: Watch | None = None
        self._claim_key, self._token = claim_key, token
        self.deleted: bool = False
        watcher.add_delivery(self._delivery)
        self._own = watcher.open(claim_key, b"", token, self)

    def watch_predecessor(self, key: bytes | None, after: int) -> None:
        """Watch this claim, too, and no other any more; None if there is none before it.

        Args:
            key: of the claim before.
            after: the revision as of which it is that; later events are reported.
        """
        with self._lock:
            former = self._predecessor
            if self._closed or key == (None if former is None else former.key):
                return
            self._predecessor = None if key is None else self._watcher.open(key, b"", after, self)
        if former is not None:
            former.close()

    def close(self) -> None:
        """End the calls of `wake`; see `WatchDelivery.close`."""
        self._delivery.close()

    # -- called by the watcher ---------------------------------------------------------------

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.deleted and event.kv.key == self._claim_key:
                self.deleted = self.deleted or event.kv.mod_revision > self._token
        self._delivery.publish(None)

    def on_gap(self) -> None:
        self._delivery.publish(None)

    def on_unavailable(self, error: StoreUnavailable) -> None:
        pass  # the renewals of the session notice it

    def on_recovered(self) -> None:
        pass  # what has happened meanwhile follows as events
