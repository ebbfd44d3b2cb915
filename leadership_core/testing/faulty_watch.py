"""A watch that can be cut off, and catches up when that is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..errors import StoreUnavailable
from ..session import Closable
from ..subscription import Subscription

__all__ = ["FaultyWatch"]


class FaultyWatch:
    """Passes on what the watch of the backend reports, or keeps the latest for later.

    Args:
        on_change: gets the reports, one call at a time.
        on_outage: makes the report of an outage.
        is_cut_off: whether nothing gets through at this moment.
    """

    def __init__(
        self,
        on_change: Callable[[Any], None],
        on_outage: Callable[[StoreUnavailable], Any],
        is_cut_off: Callable[[], bool],
    ) -> None:
        self._on_outage, self._is_cut_off = on_outage, is_cut_off
        self._subscription = Subscription(on_change, lambda _: self._forget())
        self._lock = threading.Lock()
        self._number = 0
        self._latest: list[Any] = []
        self._told_outage = False
        self._inner: Closable | None = None
        self._gone: Callable[[FaultyWatch], None] = lambda _: None

    def arm(
        self,
        start: Callable[[Callable[[Any], None]], Closable],
        gone: Callable[[FaultyWatch], None],
    ) -> None:
        """Start the inner watch; `gone` is called once this one is closed."""
        self._gone = gone
        self._inner = start(self._hear)

    def cut_off(self, error: StoreUnavailable) -> None:
        """Report that the store is away."""
        with self._lock:
            self._told_outage = True
            number = self._next()
        self._subscription.offer(number, self._on_outage(error))

    def catch_up(self) -> None:
        """Report what was kept back, or what there was before the outage."""
        with self._lock:
            if not (self._latest and self._told_outage):
                return
            self._told_outage = False
            number, latest = self._next(), self._latest[0]
        self._subscription.offer(number, latest)

    def close(self) -> None:
        """End it; nothing is called back afterwards."""
        self._subscription.close()

    def _hear(self, report: Any) -> None:
        with self._lock:
            self._latest = [report]
            if self._is_cut_off():
                self._told_outage = True  # so that it is told in the end
                return
            number = self._next()
        self._subscription.offer(number, report)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _forget(self) -> None:
        self._gone(self)
        if self._inner is not None:
            self._inner.close()
