"""An ear for watches: keeps what it was told, for a thread that waits for it."""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Callable
from typing import Any

from ..errors import StoreUnavailable

__all__ = ["PATIENCE", "Heard"]

PATIENCE = 5.0
"""Seconds within which what happens at once has happened, on a machine that is busy, too."""


class Heard:
    """A callback of a watch.

    What it is told of an outage of the store is left out: that may happen at any time.
    """

    def __init__(self) -> None:
        self.states: list[Any] = []
        self._told = threading.Condition()

    def __call__(self, change: Any) -> None:
        if isinstance(change, StoreUnavailable):
            return
        with self._told:
            self.states.append(change)
            self._told.notify_all()

    def last_is(self, state: Any, within: float | None = None) -> bool:
        """Wait until the last state is this one; False if it is not in time."""
        return self.last(lambda last: last == state, within)

    def last(self, is_it: Callable[[Any], object], within: float | None = None) -> bool:
        """Wait until the last state is what is looked for; False if it is not in time.

        Args:
            is_it: says whether it is.
            within: seconds; by default as many as take what happens at once.
        """
        within = PATIENCE if within is None else within
        with self._told:
            return self._told.wait_for(lambda: bool(self.states and is_it(self.states[-1])), within)

    def __repr__(self) -> str:
        shown = ", ".join(map(reprlib.repr, self.states[-5:]))
        return f"told {len(self.states)} states, the last of them: {shown}"
