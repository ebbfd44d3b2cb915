"""Requests to the primary: connections with deadlines, failover, and redirections of a cluster.

A request is sent once. It goes to another server only where the first one has surely not executed
it: it could not be connected to, it is a replica, or it names another node of its cluster.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from redis import exceptions

from leadership_core.backend import (
    Address,
    Attempt,
    ConnectFailure,
    Host,
    NotApplied,
    RateLimiter,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    WrongServer,
    bare,
    clock,
    is_hang_up,
    is_refused_by_server,
    remaining_timeout,
)

from .errors import (
    Moved,
    NotPrimary,
    connect_failed,
    connection_lost,
    is_answer,
    network_error,
    refused,
)
from .options import Options
from .primary import Primary, primary_of
from .sockets import Connection

__all__ = ["Transport"]

_CONNECT_TIMEOUT = 5.0  # seconds, for all connects of a request
_MAX_IDLE = 4  # connections that stay open while no request uses them
_MOST_REDIRECTIONS = 4
_CONNECT_RATE, _CONNECT_BURST = 20.0, 40.0  # new connections per second

Command = Sequence[Any]


class _NotExecuted(Exception):
    """A server has executed nothing; another one may.

    Attributes:
        problem: why, as an error for the caller or a connection that has failed.
    """

    def __init__(self, problem: StoreUnavailable | ConnectFailure) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _refusal(address: Address, error: Exception) -> StoreUnavailable | _NotExecuted:
    """The error for an answer that is an error of Redis; raises `Moved`."""
    try:
        return refused(str(address), error)
    except NotPrimary:
        return _NotExecuted(
            NotApplied(f"{address} is a replica: name the primary in the URL, or all servers")
        )


class Transport:
    """Requests to the primary; thread-safe.

    A request takes an idle connection, or opens one: it never waits for another request.

    Args:
        options: of the store.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._primary: Primary = primary_of(options)
        self._limiter = RateLimiter(_CONNECT_BURST, _CONNECT_RATE)
        self._ended = threading.Event()
        self._lock = threading.RLock()  # reentrant: a signal handler may make a request, too
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._idle: list[Connection] = []
        self._closed = False
        self._current: Address | None = None

    @property
    def current(self) -> Address | None:
        """The address of the server that has executed the last request, or None."""
        return self._current

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def request(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once, and return their answers; blocks for `remaining_timeout` at most.

        Only the first one decides where they are executed, and whether that has failed. The errors
        of the others, and NOSCRIPT of the first, are among the answers.

        Raises:
            StoreClosed: the store is closed.
            StoreRefused: a person has to change something.
            NotApplied: nothing was executed.
            StoreUnavailable: no answer; the commands may have been executed.
        """
        given = remaining_timeout()
        until = clock.now() + given
        asking = False
        for _ in range(_MOST_REDIRECTIONS):
            try:
                return self._request_once(commands, given, until, asking=asking)
            except Moved as moved:
                # The name is empty if the node does not know its own address.
                current = self._current
                name = moved.name or (current.host.name if current else "localhost")
                self._primary.moved(Host(name.strip("[]"), moved.port))
                asking = moved.ask
        raise NotApplied("the nodes of the Redis cluster do not agree on which one has our keys")

    def open_connection(self) -> Connection:
        """Open a connection of the caller's own, to the server that executes the requests.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        address = self._current
        if address is None:
            raise NotApplied("no server has answered yet")
        self._wait_for_turn(clock.now() + remaining_timeout())
        connection = self._new_connection(address)
        connection.deadline.until = clock.now() + min(remaining_timeout(), _CONNECT_TIMEOUT)
        try:
            connection.connect()  # type: ignore[no-untyped-call, unused-ignore]  # redis-py has no types here
        except (exceptions.RedisError, OSError, ValueError) as error:
            connection.close()
            if connection.deadline.is_aborted:
                raise StoreClosed("the Redis store is closed") from None
            raise NotApplied(f"cannot connect to {address}: {network_error(error)}") from bare(
                error
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Abort every request under way, and let no other begin."""
        with self._lock:
            self._closed = True
            connections = list(self._connections)
            idle, self._idle = self._idle, []
        self._ended.set()
        self._primary.close()
        for connection in connections:
            connection.deadline.abort()  # the thread that uses it closes it
        for connection in idle:
            connection.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self._closed = True
        self._primary.after_fork_in_child()
        for connection in list(self._connections):
            connection.deadline.end_in_child()

    def _request_once(
        self, commands: Sequence[Command], given: float, until: float, *, asking: bool
    ) -> list[Any]:
        if self._closed:
            raise StoreClosed("the Redis store is closed")
        failed: list[ConnectFailure] = []
        said: list[StoreUnavailable] = []
        for attempt in self._primary.attempts(
            clock.now() + min(until - clock.now(), _CONNECT_TIMEOUT),
            is_connected=self._has_idle,
            wanted=lambda: not self._closed,
        ):
            address = attempt.address
            if address is None:
                failed.append(self._failure(attempt, attempt.error or OSError()))
                continue
            try:
                answers = self._exchange(attempt, commands, given, until, asking=asking)
            except _NotExecuted as reason:
                self._primary.failed(address)
                if isinstance(reason.problem, ConnectFailure):
                    failed.append(reason.problem)
                else:
                    said.append(reason.problem)
                continue
            self._primary.works(address)
            if self._current != address:
                self._switch(address)
            return answers
        if said:
            raise said[0]
        raise connect_failed(failed) from (bare(failed[-1].error) if failed else None)

    def _exchange(
        self,
        attempt: Attempt,
        commands: Sequence[Command],
        given: float,
        until: float,
        *,
        asking: bool,
    ) -> list[Any]:
        """Send the commands to one address, on an idle connection or a new one.

        Raises:
            _NotExecuted: nothing was executed there, and another server may execute it.
            StoreUnavailable: it may have been executed, or no server would execute it.
        """
        address = attempt.address
        assert address is not None
        taken = self._take(address)
        if taken is None:
            self._wait_for_turn(until)
        connection = taken or self._new_connection(address)
        deadline = connection.deadline
        try:
            if taken is None:
                deadline.until = attempt.until
                connection.connect()  # type: ignore[no-untyped-call, unused-ignore]  # redis-py has no types here
            deadline.sent, deadline.received, deadline.until = False, 0, until
            answers = connection.exchange([("ASKING",), *commands] if asking else commands)
        except (exceptions.RedisError, OSError, ValueError) as error:
            connection.close()
            if deadline.is_aborted:
                raise StoreClosed("the request was cut off: the store is closed") from None
            raise self._lost(attempt, error, connection, given, fresh=taken is None) from bare(
                error
            )
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        if asking:
            del answers[0]
        first = answers[0]
        if isinstance(first, Exception) and not isinstance(first, exceptions.NoScriptError):
            raise _refusal(address, first)
        return answers

    def _lost(
        self,
        attempt: Attempt,
        error: Exception,
        connection: Connection,
        given: float,
        *,
        fresh: bool,
    ) -> Exception:
        """The error of a connection that could not be made, or that has ended before the answer."""
        address = attempt.address
        assert address is not None
        if is_answer(error):
            # The server has refused the connection, or its first command.
            refusal = _refusal(address, error)
            return refusal if isinstance(refusal, _NotExecuted) else _NotExecuted(refusal)
        reason = network_error(error)
        deadline, tls = connection.deadline, self._options.tls
        if tls is not None and fresh and not deadline.received and is_hang_up(reason):
            # With TLS 1.3 a server refuses a client's certificate after the handshake.
            reason = tls.why_hung_up(address, deadline.until) or reason
        failure = self._failure(attempt, reason)
        if not deadline.sent or is_refused_by_server(reason):
            return _NotExecuted(failure)
        if fresh and isinstance(reason, WrongServer):
            return StoreRefused(f"{failure.place}: {reason}; check host and port")
        return connection_lost(failure, given)

    def _wait_for_turn(self, until: float) -> None:
        """Wait until a connection may be opened; raises `NotApplied` if that takes too long."""
        if (delay := self._limiter.delay()) > 0:
            limit = (until - clock.now()) / 2
            self._ended.wait(min(delay, max(0.0, limit)))
            if delay > limit:
                raise NotApplied(
                    f"connections to Redis end as fast as they are opened; backing off for {delay:.1f} s"
                )
        self._limiter.consume()

    def _new_connection(self, address: Address) -> Connection:
        options = self._options
        connection = Connection(address, options.tls, options.login, options.database)
        with self._lock:
            if self._closed:
                raise StoreClosed("the Redis store is closed")
            self._connections.add(connection)
        return connection

    def _has_idle(self, address: Address) -> bool:
        return any(connection.address == address for connection in tuple(self._idle))

    def _take(self, address: Address) -> Connection | None:
        """An idle connection to that address, or None."""
        while True:
            with self._lock:
                # The last one used: it is the least likely to have been closed by the server.
                found = next((one for one in reversed(self._idle) if one.address == address), None)
                if found is None:
                    return None
                self._idle.remove(found)
            if not found.is_stale():
                return found
            found.close()

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            kept = not self._closed and len(self._idle) < _MAX_IDLE
            if kept:
                self._idle.append(connection)
        if not kept:
            connection.close()

    def _switch(self, address: Address) -> None:
        """Use another server from now on, and close the idle connections to the last one."""
        with self._lock:
            self._current = address
            others = [one for one in self._idle if one.address != address]
            self._idle = [one for one in self._idle if one.address == address]
        for connection in others:
            connection.close()

    def _failure(self, attempt: Attempt, error: Exception) -> ConnectFailure:
        tls = self._options.tls
        return ConnectFailure(
            str(attempt.address or attempt.host),
            error,
            attempt.host,
            has_certificate=tls is not None and tls.cert is not None,
        )
