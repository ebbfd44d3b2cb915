"""One watch of a store: its callback hears every last state, one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from .delivery import WatchDelivery
from .store import Change

__all__ = ["Subscription"]


class Subscription:
    """What `Store.watch` returns, for stores that know themselves when something changed.

    Any thread may offer a state, so several may at once: one of them calls back, with the
    newest, until there is nothing newer; the others leave theirs and go. What the callback
    raises is logged, and the watch lives.

    Args:
        on_change: the callback.
        forget: called once with the subscription when it is closed.
    """

    def __init__(
        self, on_change: Callable[[Change], None], forget: Callable[[Subscription], None]
    ) -> None:
        self._delivery: Final = WatchDelivery(on_change, partial(forget, self))
        self._lock: Final = threading.RLock()  # a signal handler may write, and so offer, too
        self._sequence = -1

    def offer(self, sequence: int, change: Change) -> None:
        """Tell the state, unless one with the same or a higher sequence was offered before.

        The caller must hold no lock that the callback might want.
        """
        with self._lock:
            if sequence <= self._sequence:
                return
            self._sequence = sequence
            self._delivery.put(change)
        self._delivery.run()

    def close(self) -> None:
        """End the watch; see `WatchDelivery.close`."""
        self._delivery.close()
