"""The HTTP transport of py-consul: connections with deadlines, and failover between agents.

py-consul calls its `http_connect` for an object that gets, puts and deletes. This one gives each
request one total time, the `remaining_timeout` of the call, and knows several agents: several
hosts, and several addresses of a host. An agent that cannot be connected to is skipped within the
same request, because nothing was sent to it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from consul import base

from leadership_core.backend import (
    Address,
    Addresses,
    Attempt,
    ClientTLS,
    ConnectFailure,
    Host,
    StoreClosed,
    clock,
    is_hang_up,
    is_refused_by_server,
    remaining_timeout,
)

from .connection import Connection, Response
from .errors import (
    connect_failed,
    connection_lost,
    has_no_leader,
    is_consul_answer,
    unexpected_response,
)
from .tls import Token

if TYPE_CHECKING:

    class _HTTPClient:
        """The part of py-consul's class, which has no types, that is used here."""

        scheme: str

        def __init__(self, *, scheme: str) -> None: ...
else:
    _HTTPClient = base.HTTPClient

__all__ = ["Transport"]

_CONNECT_TIMEOUT = 5.0  # seconds, for all connects of a request; a long poll may take longer
_MAX_IDLE = 4  # connections that stay open while no request uses them
_INDEX = "X-Consul-Index"
MAX_RESPONSE_SIZE = 2 * 1024**2
"""Bytes of an answer about one key, a session or a transaction. A value has 512 KiB at most."""
MAX_LIST_SIZE = 64 * 1024**2
"""Bytes of an answer with a list of keys."""

Callback = Callable[[Any], Any]


class Transport(_HTTPClient):
    """Requests to any agent that answers; thread-safe.

    A request takes an idle connection, or opens one: it never waits for another request. An agent
    limits the connections of one client address to 200 (`limits.http_max_conns_per_client`), so
    idle ones are used again.

    py-consul calls `get`, `put`, `delete` and `post` with a callback, which reads the answer and
    whose result they return. They block for `remaining_timeout` at most.

    Args:
        hosts: the agents, in the order in which they are tried.
        token: sent with every request.
        tls: None for plain HTTP.

    Raises:
        StoreUnavailable: from each request, if there is no answer of Consul's.
        StoreClosed: from each request, after `close`.
    """

    def __init__(self, hosts: Sequence[Host], token: Token, tls: ClientTLS | None) -> None:
        super().__init__(scheme="https" if tls else "http")
        self._addresses = Addresses(hosts, thread="leadership-consul-resolve")
        self._token = token
        self._tls = tls
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.RLock()  # reentrant: a signal handler may make a request, too
        self._idle: list[Connection] = []
        self._closed = False

    def get(self, callback: Callback, path: str, params: Any = None, **options: Any) -> Any:
        is_list = any(name == "recurse" for name, _ in params or ())
        return callback(
            self._request("GET", path, params, None, options.get("headers"), is_list=is_list)
        )

    def put(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        is_list = bool(options.get("is_list"))
        return callback(
            self._request("PUT", path, params, data, options.get("headers"), is_list=is_list)
        )

    def delete(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        return callback(self._request("DELETE", path, params, data, options.get("headers")))

    def post(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        return callback(self._request("POST", path, params, data, options.get("headers")))

    def thread_connection(self) -> Connection:
        """The connection that all requests of the calling thread use from now on.

        Another thread can abort it, and so end a long poll.

        Raises:
            StoreClosed: the transport is closed.
        """
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._lock:
                self._local.connection = connection = self._new_connection()
        return connection

    def _new_connection(self) -> Connection:
        if self._closed:
            raise StoreClosed("the Consul store is closed")
        connection = Connection(self._tls, self._token)
        self._connections.add(connection)
        return connection

    def close(self) -> None:
        """Abort every request under way, and let no other begin."""
        with self._lock:
            self._closed = True
            connections = list(self._connections)
            self._idle.clear()
        for connection in connections:
            connection.deadline.abort()
            connection.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self._closed = True
        for connection in list(self._connections):
            connection.deadline.end_in_child()

    def _request(
        self,
        method: str,
        path: str,
        params: Any,
        data: Any,
        headers: Mapping[str, str] | None,
        *,
        is_list: bool = False,
    ) -> Any:
        own: Connection | None = getattr(self._local, "connection", None)
        connection = own
        if connection is None:
            with self._lock:
                # The last one used: it is the least likely to have been closed by the agent.
                connection = self._idle.pop() if self._idle else self._new_connection()
        try:
            target = quote(path, safe="/") + (f"?{urlencode(params)}" if params else "")
            body = data.encode() if isinstance(data, str) else data
            max_size = MAX_LIST_SIZE if is_list else MAX_RESPONSE_SIZE
            return self._request_on(connection, method, target, headers or {}, body, max_size)
        finally:
            if own is None:
                with self._lock:
                    kept = not self._closed and len(self._idle) < _MAX_IDLE
                    if kept:
                        self._idle.append(connection)
                if not kept:
                    connection.close()

    def _request_on(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        max_size: int,
    ) -> Any:
        deadline = connection.deadline
        given = remaining_timeout()
        deadline.until = clock.now() + given
        connect_until = clock.now() + min(given, _CONNECT_TIMEOUT)
        failed: list[ConnectFailure] = []
        response: Response | None = None
        answered: Address | None = None
        for attempt in self._addresses.attempts(
            connect_until,
            is_connected=connection.is_connected,
            wanted=lambda: not deadline.is_aborted,
        ):
            address = attempt.address
            if address is None:
                failed.append(self._failure(attempt, attempt.error or OSError()))
                continue
            deadline.sent, deadline.received, deadline.max_size = False, 0, max_size
            deadline.connect_until = attempt.until
            try:
                response = connection.send(address, method, target, headers, body)
            except (OSError, HTTPException) as error:
                if deadline.is_aborted:
                    raise StoreClosed("the request was cut off: the store is closed") from error
                self._addresses.failed(address)
                reason: Exception = error
                if self._tls is not None and deadline.is_unanswered and is_hang_up(error):
                    # With TLS 1.3 a server refuses a client's certificate after the handshake.
                    reason = self._tls.why_hung_up(address, deadline.until) or error
                failure = self._failure(attempt, reason)
                if deadline.sent and not is_refused_by_server(failure.error):
                    raise connection_lost(failure, given) from failure.error
                failed.append(failure)
                continue
            answered = address
            if response.status < 500 or is_consul_answer(response.body):
                self._addresses.works(address)
                break
            # An agent without a connection to its servers says so with a 500; another agent may
            # have one. A write is sent again only if it certainly was not applied.
            self._addresses.failed(address)
            resend = method == "GET" or has_no_leader(response.body)
            if not resend or clock.now() >= deadline.until:
                break
        if response is None:
            raise connect_failed(failed) from (failed[-1].error if failed else None)
        if response.status != 200 and not 400 <= response.status < 600:
            assert answered is not None
            raise unexpected_response(self._place(answered), response.status)  # such as a redirect
        # py-consul reads no other header, and repeats this one in its errors.
        kept = {} if response.modify_index is None else {_INDEX: response.modify_index}
        return base.Response(response.status, kept, response.body)

    def _place(self, where: Address | Host) -> str:
        return f"{self.scheme}://{where}"

    def _failure(self, attempt: Attempt, error: Exception) -> ConnectFailure:
        return ConnectFailure(
            self._place(attempt.address or attempt.host),
            error,
            attempt.host,
            has_certificate=self._tls is not None and self._tls.cert is not None,
        )
