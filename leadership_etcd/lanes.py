"""Connections: one for each lane, so that a renewal or a release never waits for anything else.

All go to the same endpoint. Who finds that it does not answer moves them all to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from leadership_core import clock
from leadership_core.errors import StoreClosed

from .answers import LONGEST, LONGEST_LIST, LONGEST_PAGE
from .connection import Connection
from .options import Options

__all__ = ["Lane", "Lanes"]

_PATIENCE = 0.5  # seconds without an answer after which a connection is given up


class Lane(Enum):
    """What waits for nothing but its like."""

    REQUESTS = "requests"
    LISTS = "lists"
    RENEWALS = "renewals"
    RELEASES = "releases"
    WATCHES = "watches"


_LONGEST = {
    Lane.REQUESTS: LONGEST_PAGE,
    Lane.LISTS: LONGEST_LIST,
    Lane.RENEWALS: LONGEST,
    Lane.RELEASES: LONGEST,
    Lane.WATCHES: LONGEST_LIST,
}
"""Bytes that gRPC takes in as one answer; it gets no memory for more."""


class Lanes:
    """The connections of one store; safe for several threads.

    Attributes:
        closed: no call is to begin any more.
    """

    def __init__(self, options: Options) -> None:
        self.closed = False
        self._options = options
        self._first = 0  # the endpoint that all go to
        self._lock = threading.Lock()
        self._lanes: dict[Lane, Connection] = {}
        self._open: set[Connection] = set()
        self._known: set[str] = set()
        self._moved: Callable[[], None] | None = None

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call this when all go to another endpoint; it must not block."""
        self._moved = moved

    def is_current(self, connection: Connection) -> bool:
        """Whether it goes to the endpoint that all go to."""
        return connection.number == self._first

    def take(self, lane: Lane) -> Connection:
        """The lane's connection to the endpoint of now, perhaps yet to be made; to be given back.

        Raises:
            StoreClosed: no call is to begin any more.
        """
        over = None
        with self._lock:
            if self.closed:
                raise StoreClosed("the etcd store is closed")
            found = self._lanes.get(lane)
            if found is None or found.number != self._first:
                if found is not None:
                    found.retired = True
                    over = None if found.users else found
                number = self._first
                found = self._lanes[lane] = Connection(
                    number,
                    self._options.endpoints[number],
                    self._options.tls,
                    streams=lane is Lane.WATCHES,
                    longest=_LONGEST[lane],
                    known=self._known,
                )
                self._open.add(found)
            found.users += 1
            if over is not None:
                self._open.discard(over)
        if over is not None:
            over.close()
        return found

    def give_back(self, connection: Connection) -> None:
        """A call over it is over."""
        with self._lock:
            connection.users -= 1
            over = connection.retired and not connection.users
            if over:
                self._open.discard(connection)
        if over:
            connection.close()

    def give_up(self, connection: Connection, *, more: bool) -> None:
        """Use it no more, and go to the next endpoint; but not because one answer was slow.

        Args:
            connection: which.
            more: whether there is something else to be tried at once.
        """
        silent = connection.silent_since
        if not more and silent is not None and clock.now() - silent < _PATIENCE:
            return
        self.retire(connection)
        self._move_from(connection.number)

    def retire(self, connection: Connection) -> None:
        """Use it no more: the next call makes another one, to the same endpoint."""
        with self._lock:
            connection.retired = True
            for lane, present in list(self._lanes.items()):
                if present is connection:
                    del self._lanes[lane]

    def close(self) -> None:
        """Cut off what is under way; may be called again."""
        with self._lock:
            self.closed = True
            connections, self._open = self._open, set()
            self._lanes.clear()
        for connection in connections:
            connection.close()

    def _move_from(self, number: int) -> None:
        count = len(self._options.endpoints)
        with self._lock:
            if self._first != number or count == 1:
                return
            self._first = (number + 1) % count
        if self._moved is not None:
            self._moved()
