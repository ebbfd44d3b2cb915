"""Who of this process writes next: SQLite lets one write at a time, in no order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .. import clock
from ..errors import NotDone

__all__ = ["Turns"]


class Turns:
    """A queue in which a renewal waits for one write at most, whatever else is going on.

    First come, first served: a thread that has written and at once wants to write again
    would otherwise always be faster than those that have to wake up first.
    """

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._queue: Final[deque[threading.Event]] = deque()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def take(self, *, urgent: bool, until: float) -> Iterator[None]:
        """Wait for one's turn, and have it until the end of the block.

        Args:
            urgent: begin at once; the others wait until it is over.
            until: when to give up, on `clock.now`.

        Raises:
            NotDone: it did not come in time.
        """
        if urgent:
            with self._lock:
                self._urgent += 1
        else:
            self._wait(until)
        try:
            yield
        finally:
            with self._lock:
                if urgent:
                    self._urgent -= 1
                else:
                    self._taken = False
                self._pass_on()

    def _wait(self, until: float) -> None:
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._pass_on()
        in_time = False
        try:
            in_time = mine.wait(max(0.0, until - clock.now()))
        finally:
            if not in_time:
                self._leave(mine)
        if not in_time:
            raise NotDone("the other writes of this process take too long")

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if mine.is_set():  # it came just now
                self._taken = False
                self._pass_on()
            else:
                self._queue.remove(mine)

    def _pass_on(self) -> None:
        if self._queue and not (self._taken or self._urgent):
            self._taken = True
            self._queue.popleft().set()
