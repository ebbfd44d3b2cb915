"""A watch that can be cut off from the store, and catches up afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..backend.protocols import Closable
from ..backend.watches import WatchDelivery
from ..errors import StoreUnavailable

__all__ = ["FaultyWatch"]


class FaultyWatch:
    """Delivers the reports of the backend's watch, or keeps the last one during an outage.

    Args:
        on_change: called with each report, one call at a time.
        on_outage: makes the report of an outage.
        is_cut_off: whether no report gets through at the moment.
    """

    def __init__(
        self,
        on_change: Callable[[Any], None],
        on_outage: Callable[[StoreUnavailable], Any],
        is_cut_off: Callable[[], bool],
    ) -> None:
        self._on_outage, self._is_cut_off = on_outage, is_cut_off

        def forget() -> None:
            self._gone(self)
            if self._inner is not None:
                self._inner.close()

        self._delivery = WatchDelivery(on_change, forget)
        self._lock = threading.Lock()
        self._number = 0
        self._latest: list[Any] = []
        self._outage_reported = False
        self._inner: Closable | None = None
        self._gone: Callable[[FaultyWatch], None] = lambda _: None

    def arm(
        self,
        start: Callable[[Callable[[Any], None]], Closable],
        gone: Callable[[FaultyWatch], None],
    ) -> None:
        """Start the inner watch with `start`; `gone` is called once this watch is closed."""
        self._gone = gone
        self._inner = start(self._deliver)

    def cut_off(self, error: StoreUnavailable) -> None:
        """Report that the store is away."""
        with self._lock:
            self._outage_reported = True
            number = self._next()
        self._delivery.publish(self._on_outage(error), number=number)

    def catch_up(self) -> None:
        """Report the last state, which was kept back or reported before the outage."""
        with self._lock:
            if not (self._latest and self._outage_reported):
                return
            self._outage_reported = False
            number, latest = self._next(), self._latest[0]
        self._delivery.publish(latest, number=number)

    def close(self) -> None:
        """End the watch; no callback follows."""
        self._delivery.close()

    def _deliver(self, report: Any) -> None:
        with self._lock:
            self._latest = [report]
            if self._is_cut_off():
                self._outage_reported = True  # so that `catch_up` reports it
                return
            number = self._next()
        self._delivery.publish(report, number=number)

    def _next(self) -> int:
        self._number += 1
        return self._number
