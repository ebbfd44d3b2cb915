"""Connections: one for each lane, so that a renewal or a release never waits for anything else.

All go to the same address. Who finds that it does not answer moves them all to the next: another
one of the same host, or of another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from leadership_core import clock
from leadership_core.addresses import Address, Addresses, is_unknown_host
from leadership_core.errors import StoreClosed

from .answers import LONGEST, LONGEST_LIST, LONGEST_PAGE
from .connection import Connection
from .errors import Unreached
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

    Args:
        options: where the endpoints are.
        masked: takes secrets from what a server says.

    Attributes:
        closed: no call is to begin any more.
    """

    def __init__(self, options: Options, masked: Callable[[str], str]) -> None:
        self.closed = False
        self._masked = masked
        self._options = options
        self._addresses = Addresses(options.hosts, thread="leadership-etcd-resolve")
        self._current: Address | None = None  # which all go to; None: to be found
        self._last: Address | None = None  # which all went to before
        self._lock = threading.Lock()
        self._lanes: dict[Lane, Connection] = {}
        self._open: set[Connection] = set()
        self._known: set[Address] = set()
        self._moved: Callable[[], None] | None = None

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call this when all go to another address; it must not block."""
        self._moved = moved

    @property
    def count(self) -> int:
        """How many addresses there are to be tried; a name that was not resolved yet is one."""
        return self._addresses.count

    def is_current(self, connection: Connection) -> bool:
        """Whether it goes to the address that all go to."""
        return connection.address == self._current

    def take(self, lane: Lane, until: float) -> Connection:
        """The lane's connection to the address of now, perhaps yet to be made; to be given back.

        Args:
            lane: which.
            until: when to give up on resolving a name, on `clock.now`.

        Raises:
            StoreClosed: no call is to begin any more.
            Unreached: the name of a host cannot be resolved; another one is tried the next time.
        """
        while True:
            found = self._take(lane)
            if found is not None:
                return found
            self._find(until)

    def _take(self, lane: Lane) -> Connection | None:
        over = None
        with self._lock:
            if self.closed:
                raise StoreClosed("the etcd store is closed")
            current = self._current
            if current is None:
                return None
            found = self._lanes.get(lane)
            if found is None or found.address != current:
                if found is not None:
                    found.retired = True
                    over = None if found.users else found
                found = self._lanes[lane] = Connection(
                    current,
                    self._options.tls,
                    streams=lane is Lane.WATCHES,
                    longest=_LONGEST[lane],
                    known=self._known,
                    masked=self._masked,
                )
                self._open.add(found)
            found.users += 1
            if over is not None:
                self._open.discard(over)
        if over is not None:
            over.close()
        return found

    def _find(self, until: float) -> None:
        """Choose the address that all are to go to."""
        attempt = next(self._addresses.attempts(until, wanted=lambda: not self.closed), None)
        if attempt is None:
            raise Unreached("no time left to resolve its name")
        if attempt.address is None:
            lasting = attempt.error is not None and is_unknown_host(attempt.error)
            words = "unknown host; check the name in the URL" if lasting else str(attempt.error)
            raise Unreached(words, lasting=lasting, where=str(attempt.host))
        with self._lock:
            if self._current is None:
                self._current = attempt.address
            moved = self._last not in {None, self._current}
            self._last = self._current
        if moved and self._moved is not None:
            self._moved()

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
        """Use it no more, and go to the next address; but not because one answer was slow.

        Args:
            connection: which.
            more: whether there is something else to be tried at once.
        """
        silent = connection.silent_since
        if not more and silent is not None and clock.now() - silent < _PATIENCE:
            return
        self.retire(connection)
        with self._lock:
            self._addresses.failed(connection.address)
            if self._current == connection.address:
                self._current = None

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
