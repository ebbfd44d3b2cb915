"""Who of this process writes next: SQLite lets one write at a time, in no order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .. import clock
from ..errors import StoreUnavailable

__all__ = ["Turns"]


class Turns:
    """A queue in which a renewal waits for one write at most, whatever else is going on."""

    def __init__(self) -> None:
        self._condition: Final = threading.Condition()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def take(self, *, urgent: bool, until: float) -> Iterator[None]:
        """Wait for one's turn, and have it until the end of the block.

        Args:
            urgent: begin at once; the others wait until it is over.
            until: when to give up, on `clock.now`.

        Raises:
            StoreUnavailable: it did not come in time.
        """
        with self._condition:
            if urgent:
                self._urgent += 1
            elif self._condition.wait_for(self._is_free, max(0.0, until - clock.now())):
                self._taken = True
            else:
                raise StoreUnavailable("other writes of this process take too long")
        try:
            yield
        finally:
            with self._condition:
                if urgent:
                    self._urgent -= 1
                else:
                    self._taken = False
                self._condition.notify_all()

    def _is_free(self) -> bool:
        return not (self._taken or self._urgent)
