"""A clock that shows the time that a test sets."""

from __future__ import annotations


class ManualClock:
    """A clock that shows the time that a test sets."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time
