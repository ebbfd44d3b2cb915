"""Pool of gRPC channels: one for each traffic class, so that no class waits for another.

All classes use the same address. A call that finds that it does not answer moves all of them to
the next address: another one of the same host, or of another host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from leadership_core.backend import Address, Addresses, StoreClosed, clock, is_unknown_host

from .connection import Connection
from .endpoint_checks import EndpointChecks
from .errors import ConnectFailed
from .options import Options
from .response_checks import MAX_LIST_SIZE, MAX_PAGE_SIZE, MAX_SIZE

__all__ = ["ChannelPool", "TrafficClass"]

_PATIENCE = 0.5  # seconds without an answer after which a connection counts as broken


class TrafficClass(Enum):
    """Requests that may wait for one another: each class has a connection of its own."""

    REQUESTS = "requests"
    LISTS = "lists"
    RENEWALS = "renewals"
    RELEASES = "releases"
    WATCHES = "watches"


_MAX_MESSAGE_SIZE = {
    TrafficClass.REQUESTS: MAX_PAGE_SIZE,
    TrafficClass.LISTS: MAX_LIST_SIZE,
    TrafficClass.RENEWALS: MAX_SIZE,
    TrafficClass.RELEASES: MAX_SIZE,
    TrafficClass.WATCHES: MAX_LIST_SIZE,
}
"""Bytes that gRPC accepts as one answer; it allocates no memory for more."""


class ChannelPool:
    """The connections of one store; thread-safe.

    Args:
        options: where the endpoints are.
        masked: removes secrets from what a server says.

    Attributes:
        closed: no call may begin any more.
    """

    def __init__(self, options: Options, masked: Callable[[str], str]) -> None:
        self.closed: bool = False
        self._masked = masked
        self._options = options
        self._addresses = Addresses(options.hosts, thread="leadership-etcd-resolve")
        self._current: Address | None = None  # of all classes; None: to be chosen
        self._last: Address | None = None  # the one before
        self._lock = threading.Lock()
        self._by_class: dict[TrafficClass, Connection] = {}
        self._open: set[Connection] = set()
        self._checks = EndpointChecks()
        self._moved: Callable[[], None] | None = None

    def on_endpoint_change(self, moved: Callable[[], None]) -> None:
        """Call `moved` when all classes go to another address; it must not block."""
        self._moved = moved

    @property
    def count(self) -> int:
        """How many addresses can be tried; a name that was not resolved yet counts as one."""
        return self._addresses.count

    def is_current(self, connection: Connection) -> bool:
        """Whether it goes to the address that all classes use now."""
        return connection.address == self._current

    def is_connected(self, traffic: TrafficClass) -> bool:
        """Whether a traffic class has a connection that has worked; sends no request."""
        connection = self._by_class.get(traffic)
        return connection is not None and connection.is_healthy and self.is_current(connection)

    def get(self, traffic: TrafficClass, until: float) -> Connection:
        """The connection of a traffic class to the current address; `release` it after the call.

        It is made if there is none, which sends nothing. Blocks only to resolve a host name.

        Args:
            traffic: the class.
            until: when to give up on resolving a name, on `clock.now`.

        Raises:
            StoreClosed: the store was closed.
            ConnectFailed: the name of a host cannot be resolved; the next call tries another one.
        """
        while True:
            connection = self._get(traffic)
            if connection is not None:
                return connection
            self._choose_address(until)

    def _get(self, traffic: TrafficClass) -> Connection | None:
        unused = None
        with self._lock:
            if self.closed:
                raise StoreClosed("the etcd store is closed")
            current = self._current
            if current is None:
                return None
            found = self._by_class.get(traffic)
            if found is None or found.address != current:
                if found is not None:
                    found.retired = True
                    unused = None if found.users else found
                found = self._by_class[traffic] = Connection(
                    current,
                    self._options.tls,
                    streams=traffic is TrafficClass.WATCHES,
                    max_message_size=_MAX_MESSAGE_SIZE[traffic],
                    checks=self._checks,
                    masked=self._masked,
                )
                self._open.add(found)
            found.users += 1
            if unused is not None:
                self._open.discard(unused)
        if unused is not None:
            unused.close()
        return found

    def _choose_address(self, until: float) -> None:
        attempt = next(self._addresses.attempts(until, wanted=lambda: not self.closed), None)
        if attempt is None:
            raise ConnectFailed("no time left to resolve its name")
        if attempt.address is None:
            lasting = attempt.error is not None and is_unknown_host(attempt.error)
            words = "unknown host; check the name in the URL" if lasting else str(attempt.error)
            raise ConnectFailed(words, lasting=lasting, where=str(attempt.host))
        with self._lock:
            if self._current is None:
                self._current = attempt.address
            moved = self._last not in {None, self._current}
            self._last = self._current
        if moved and self._moved is not None:
            self._moved()

    def release(self, connection: Connection) -> None:
        """A call on this connection has ended."""
        with self._lock:
            connection.users -= 1
            unused = connection.retired and not connection.users
            if unused:
                self._open.discard(connection)
        if unused:
            connection.close()

    def mark_failed(self, connection: Connection, *, retry: bool) -> None:
        """Stop using a connection and its address, unless it has merely been slow once.

        Args:
            connection: on which a call has failed.
            retry: whether the caller tries another address at once.
        """
        since = connection.unanswered_since
        if not retry and since is not None and clock.now() - since < _PATIENCE:
            return
        self.retire(connection)
        with self._lock:
            self._addresses.failed(connection.address)
            if self._current == connection.address:
                self._current = None

    def retire(self, connection: Connection) -> None:
        """Stop using a connection: the next call makes another one, to the same address."""
        with self._lock:
            connection.retired = True
            for traffic, present in list(self._by_class.items()):
                if present is connection:
                    del self._by_class[traffic]

    def close(self) -> None:
        """Cut off what is under way; may be called again."""
        with self._lock:
            self.closed = True
            connections, self._open = self._open, set()
            self._by_class.clear()
        for connection in connections:
            connection.close()
