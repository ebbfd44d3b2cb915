"""Time that passes when a test says so."""

from __future__ import annotations

import threading

__all__ = ["VirtualClock"]


class VirtualClock:
    """A clock for whatever takes a `leadership_core.clock.Clock`; thread-safe.

    Args:
        start: the seconds that it shows at first.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._seconds = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """The seconds that it shows."""
        return self._seconds

    def __call__(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> float:
        """Let that many seconds pass, and return what it shows then.

        Raises:
            ValueError: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds!r}")
        with self._lock:
            self._seconds += seconds
            return self._seconds

    def __repr__(self) -> str:
        return f"<VirtualClock {self._seconds:g}>"
