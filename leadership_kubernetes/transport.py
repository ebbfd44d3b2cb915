"""The HTTP requests to a cluster: connections with deadlines, failover, credentials and limits.

A server that cannot be connected to is skipped within the same request, because nothing was sent to
it. A request that the server has refused unprocessed, with 401 for a credential that was replaced or
with 429 by its limits, is sent again within its time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlencode

from leadership_core.backend import (
    Address,
    Addresses,
    Attempt,
    ConnectFailure,
    NotApplied,
    StoreClosed,
    StoreUnavailable,
    clock,
    is_hang_up,
    is_refused_by_server,
    remaining_timeout,
    shortened,
)

from .connection import Connection, Response
from .errors import connect_failed, connection_lost, retry_after
from .kubeconfig import Cluster

__all__ = ["Stream", "Transport"]

_CONNECT_TIMEOUT = 5.0  # seconds, for all connects of a request
_MAX_IDLE = 8  # connections that stay open while no request uses them
_MAX_RESPONSE_SIZE = 8 * 1024**2  # bytes; an object has 1.5 MiB at most
_MAX_LIST_SIZE = 256 * 1024**2


class Stream:
    """An open watch: its lines, until the server or `close` ends it; iterated over by one thread."""

    def __init__(self, connection: Connection, response: HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """The lines.

        Raises:
            StoreUnavailable: the connection has ended.
        """
        try:
            yield from self._connection.lines(self._response)
        except (OSError, HTTPException) as error:
            raise StoreUnavailable(f"a watch has ended: {shortened(error)}") from error

    def expect_within(self, seconds: float) -> None:
        """End it, as if the connection were lost, if it lasts for longer from now."""
        self._connection.deadline.until = clock.now() + seconds


class Transport:
    """Requests to any API server that answers; thread-safe.

    A request takes an idle connection, or opens one: it never waits for another request, except
    after the server has said that there are too many.

    Args:
        cluster: the servers and the credentials.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._addresses = Addresses(cluster.hosts, thread="leadership-kubernetes-resolve")
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.RLock()  # reentrant: a signal handler may make a request, too
        self._idle: list[Connection] = []
        self._closed = False
        self._ended = threading.Event()
        self._quiet_until = 0.0  # the server has limited requests

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        is_list: bool = False,
    ) -> Response:
        """Make one request; blocks for `remaining_timeout` at most.

        Raises:
            NotApplied: it was not processed.
            StoreUnavailable: no answer; it may have been processed.
            StoreClosed: after `close`.
        """
        until = clock.now() + remaining_timeout()
        target = _target(self._cluster.path, path, query)
        max_size = _MAX_LIST_SIZE if is_list else _MAX_RESPONSE_SIZE
        has_new_credentials = False
        self._wait(until)
        while True:
            headers = self._cluster.credentials.headers()
            with self._connection() as connection:
                connection.deadline.until = until
                connection.deadline.max_size = max_size
                found = self._on(connection, until, method, target, headers, body, stream=False)
            assert isinstance(found, Response)
            if found.status == 401 and not has_new_credentials:
                has_new_credentials = True  # of the next round
                if self._cluster.credentials.is_replaced(headers):
                    continue
            if found.status != 429:
                return found
            seconds = retry_after(found.headers)
            self._quiet_until = clock.now() + seconds
            if clock.now() + seconds >= until:
                return found
            self._wait(until)

    def stream(self, connection: Connection, path: str, query: dict[str, str]) -> Stream | Response:
        """Begin a watch; returns the answer if it is none. Blocks for `remaining_timeout` at most.

        Args:
            connection: from `new_connection`; aborting its deadline ends the watch.
            path: of the objects.
            query: of the watch.

        Raises:
            StoreUnavailable: no answer.
            StoreClosed: after `close`, or when the connection was aborted.
        """
        until = clock.now() + remaining_timeout()
        self._wait(until)
        headers = self._cluster.credentials.headers()
        connection.deadline.until = until
        connection.deadline.max_size = float("inf")
        target = _target(self._cluster.path, path, query)
        found = self._on(connection, until, "GET", target, headers, None, stream=True)
        if isinstance(found, Response):
            if found.status == 429:
                self._quiet_until = clock.now() + retry_after(found.headers)
            return found
        return Stream(connection, found)

    def new_connection(self) -> Connection:
        """A connection of one user; raises StoreClosed."""
        with self._lock:
            if self._closed:
                raise StoreClosed("the Kubernetes store is closed")
            connection = Connection(self._cluster.tls, self._cluster.credentials)
            self._connections.add(connection)
            return connection

    def close(self) -> None:
        """Abort every request under way, and let no other begin."""
        with self._lock:
            self._closed = True
            connections, idle = list(self._connections), list(self._idle)
            self._idle.clear()
        self._ended.set()
        for connection in connections:
            connection.deadline.abort()
        for connection in idle:  # any other one is closed by its user, which the abort has ended
            connection.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self._closed = True
        for connection in list(self._connections):
            connection.deadline.end_in_child()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._lock:
            # The last one used: it is the least likely to have been closed by the server.
            idle = self._idle.pop() if self._idle and not self._closed else None
        connection = idle or self.new_connection()
        try:
            yield connection
        finally:
            with self._lock:
                kept = not self._closed and len(self._idle) < _MAX_IDLE
                if kept:
                    self._idle.append(connection)
            if not kept:
                connection.close()

    def _wait(self, until: float) -> None:
        """Wait as long as the server has asked for, unless that is longer than there is time."""
        seconds = self._quiet_until - clock.now()
        if seconds <= 0:
            return
        if clock.now() + seconds >= until:
            raise NotApplied(
                f"the API server limits requests: the next one may be made in {seconds:.1f} s"
            )
        self._ended.wait(seconds)

    def _on(
        self,
        connection: Connection,
        until: float,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        *,
        stream: bool,
    ) -> Response | HTTPResponse:
        deadline, tls = connection.deadline, self._cluster.tls
        begun = clock.now()
        connect_until = min(until, begun + _CONNECT_TIMEOUT)
        failed: list[ConnectFailure] = []
        for attempt in self._addresses.attempts(
            connect_until,
            is_connected=connection.is_connected,
            wanted=lambda: not deadline.is_aborted,
        ):
            address = attempt.address
            if address is None:
                failed.append(self._failure(attempt, attempt.error or OSError()))
                continue
            deadline.sent, deadline.received = False, 0
            deadline.connect_until = attempt.until
            try:
                if stream:
                    found = connection.open(address, target, headers)
                else:
                    found = connection.send(address, method, target, headers, body)
            except (OSError, HTTPException) as error:
                if deadline.is_aborted:
                    raise StoreClosed("the request was cut off: the store is closed") from error
                self._addresses.failed(address)
                reason: Exception = error
                if tls is not None and deadline.is_unanswered and is_hang_up(error):
                    # With TLS 1.3 a server refuses a client's certificate after the handshake.
                    reason = tls.why_hung_up(address, until) or error
                failure = self._failure(attempt, reason)
                if deadline.sent and not is_refused_by_server(failure.error):
                    raise connection_lost(failure, until - begun) from failure.error
                failed.append(failure)
                continue
            self._addresses.works(address)
            return found
        if deadline.is_aborted:
            raise StoreClosed("the request was cut off: the store is closed")
        raise connect_failed(failed) from (failed[-1].error if failed else None)

    def _failure(self, attempt: Attempt, error: Exception) -> ConnectFailure:
        tls = self._cluster.tls
        place: Address | object = attempt.address or attempt.host
        return ConnectFailure(
            f"{'http' if tls is None else 'https'}://{place}",
            error,
            attempt.host,
            has_certificate=tls is not None and tls.has_certificate,
        )


def _target(base: str, path: str, query: dict[str, str] | None) -> str:
    return f"{base}{path}" + (f"?{urlencode(query)}" if query else "")
