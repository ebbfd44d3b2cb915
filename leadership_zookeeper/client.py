"""One kazoo client whose requests end in time, and which any thread can disconnect."""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Callable
from typing import Any

from kazoo import exceptions as zk
from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState, KeeperState

from leadership_core.backend import (
    ConfigurationError,
    LeadershipError,
    RateLimiter,
    SessionLost,
    StoreClosed,
    StoreError,
    StoreUnavailable,
    clock,
    one_line,
    remaining_timeout,
)

from .errors import (
    ANSWERS,
    UNKNOWN_TIMEOUT,
    authentication_failed,
    connect_failed,
    map_errors,
    unexpected_response,
)
from .kazoo_client import DebugState, new_client
from .options import Options
from .quorum_check import QuorumChecks
from .sockets import ConnectionMonitor, ConnectResponse
from .transport import Handler

__all__ = ["Client", "Pending", "Request"]

log: logging.Logger = logging.getLogger(__name__)

Pending = Any
"""kazoo's future of an answer."""
Request = Callable[[KazooClient], Pending]
"""Calls one of the ``_async`` methods of a kazoo client."""

_SERVER_TIMEOUT = 2.0  # seconds at most for a server to accept a connection, and again to answer
_RETRY_TIME = 0.5  # seconds of attempts after all servers have failed, before an error is raised
_UNREADABLE = (RuntimeError, struct.error, Warning)  # what kazoo raises for malformed answers
_MAX_SILENCE = 1.0  # seconds without an answer after which a connection is suspect
_ENDED = "ZooKeeper has ended the session"
_STORE_CLOSED = "the ZooKeeper store is closed"
_NOT_RENEWED = "the session was not renewed in time, and is disconnected"


class Client:
    """A connection to ZooKeeper, which kazoo opens again when it breaks; thread-safe.

    It never observes an older state than before, in all its connections and sessions: see
    `new_client`.

    A `pinned` client has one session, which `send_heartbeats` and requests extend. For any other
    one, kazoo extends the session, and opens a new one when it has expired. See
    https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkSessions.

    Args:
        options: of the store.
        timeout: requested session timeout in seconds.
        name: of its thread.
        pinned: see above.
        resume: number and password of a session to resume.
        on_change: called in its thread after it has connected or lost its session; if it is not
            pinned, also after it has lost the connection.
        limiter: of connections, if it is shared with earlier clients.

    Attributes:
        acl: of new nodes.
        connect_response: with the granted timeout of the current session; None before it.
        disconnect_at: when it ends its session and disconnects, on `clock.now`.
        connected: whether it has a connection and a session.
        connection: replaced for each connection, in the thread of its events and before them.
        close_reason: why it will never connect again; None as long as it may.
        ended_by_server: whether a server has confirmed the end of its session.
    """

    def __init__(
        self,
        options: Options,
        timeout: float,
        *,
        name: str,
        pinned: bool,
        resume: tuple[int, bytes] | None = None,
        on_change: Callable[[], None] = lambda: None,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.acl: list[Any] = options.acl
        self.connect_response: ConnectResponse | None = None
        self.disconnect_at: float = math.inf
        self.connected: bool = False
        self.connection: object = object()
        self.close_reason: StoreError | None = None
        self.ended_by_server: bool = False
        self._login = options.login
        self._sent_password = 0 if options.login is None else options.login.password.version
        self._pinned = pinned
        self._on_change = on_change
        self._timeout = timeout
        self._changed = threading.Condition()
        self._session = resume[0] if resume else None
        self._given_up = False  # by kazoo, although it was neither disconnected nor ended
        self._disconnected_at = self._all_failed_at = math.inf
        self._quorum_checks = QuorumChecks()
        self._handler = Handler(
            name,
            options.addresses,
            len(options.hosts),
            options.tls,
            min(_SERVER_TIMEOUT, timeout / 3),
            options.tick,
            allow_pings=not pinned,
            on_connected=self._on_connected,
            until=lambda: self.disconnect_at,
            on_connect_failed=self._on_connect_failed,
            on_thread_end=self._on_thread_end,
            limiter=limiter or options.new_connect_limiter(),
        )
        self._kazoo = new_client(options, self._handler, timeout, resume)
        self._handler.asks_for_names = self._kazoo.asks_for_names
        self._kazoo.add_listener(self._on_state)
        try:
            self._kazoo.start_async()
        except BaseException:  # no thread could be started; kazoo has opened sockets by then
            self._kazoo.close()
            raise

    @property
    def credentials(self) -> tuple[int, bytes] | None:
        """Number and password of the session, while it is connected."""
        return self._kazoo.client_id  # type: ignore[no-any-return]  # kazoo has no types

    @property
    def closed(self) -> bool:
        """Whether it will never connect again."""
        return self.close_reason is not None

    @property
    def disconnected_for(self) -> float:
        """Seconds since the connection was lost; 0.0 if it is connected, or never was."""
        return max(0.0, clock.now() - self._disconnected_at)

    def send_heartbeats(self, until: float) -> ConnectionMonitor | None:
        """Extend the session until then, on `clock.now`; returns the record of past heartbeats."""
        self._handler.heartbeat_until = until
        return self._handler.monitor

    def raise_if_closed(self) -> None:
        """Raise if it will never connect again.

        Raises:
            SessionLost: a server has ended the session.
            StoreClosed: the store was closed.
            StoreUnavailable: it was disconnected, or kazoo has given up.
        """
        if self.close_reason is not None:
            raise type(self.close_reason)(*self.close_reason.args)

    # -- requests ----------------------------------------------------------------------------

    def wait_connected(self) -> None:
        """Block until it is connected, for the remaining timeout at most.

        Raises:
            ConfigurationError: the installed release of kazoo is not supported.
            StoreUnavailable: it could not connect in time.
            StoreError: see `raise_if_closed`.
        """
        begun, limit = clock.now(), remaining_timeout()
        with self._changed:
            while not self.connected:
                self.raise_if_closed()
                give_up_at = max(begun, self._all_failed_at) + _RETRY_TIME
                left = min(begun + limit, give_up_at) - clock.now()
                if left <= 0:
                    raise connect_failed(tuple(self._handler.failures.values()), limit)
                self._changed.wait(left)
        if self.connect_response is None:
            # For other threads that wait: the store is not closed.
            self.disconnect(StoreUnavailable(UNKNOWN_TIMEOUT))
            raise ConfigurationError(UNKNOWN_TIMEOUT)

    def request(
        self, doing: str, *requests: Request, check: Callable[[Any], None] = lambda _: None
    ) -> list[Any]:
        """Send requests in one go, and return their answers, which may be `errors.ANSWERS`.

        Args:
            doing: the operation, for the message "cannot ...".
            requests: served in this order.
            check: called with each answer as it arrives. If it raises, the connection is broken,
                so that the remaining answers are not read.

        Raises:
            SessionLost: the session has ended.
            StoreUnavailable: no answer within the remaining timeout.
        """
        found = []
        for pending in self.send(*requests):
            found.append(self.result(pending, doing))
            try:
                check(found[-1])
            except BaseException:
                self._handler.socket_handle.abort()
                raise
        return found

    def request_linearizable(self, doing: str, *requests: Request) -> list[Any]:
        """Like `request`, with linearizable answers, which costs a transaction.

        It is sent before the requests; waiting threads share it. See `quorum_check`.
        """
        pending = self._quorum_checks.send(self, doing)
        sent = self.send(*requests)
        self._quorum_checks.finish(self, pending, doing)
        return [self.result(one, doing) for one in sent]

    def send(self, *requests: Request) -> list[Pending]:
        """Send requests once it is connected; see `wait_connected`."""
        self.wait_connected()
        return self.post(*requests)

    def post(self, *requests: Request) -> list[Pending]:
        """Send requests without waiting for a connection."""
        if self._login is not None and self._login.password.version != self._sent_password:
            # The password file has changed. The old password stays valid for the session, so the
            # nodes that it has created stay accessible.
            self._sent_password = self._login.password.version
            self._kazoo.add_auth_async("digest", self._login.digest())
        return [request(self._kazoo) for request in requests]

    def result(self, pending: Pending, doing: str, *, ends_session: bool = False) -> Any:
        """Wait for an answer; see `request`.

        Args:
            pending: of the request.
            doing: the operation, for the message "cannot ...".
            ends_session: whether the request was to end the session.
        """
        begun, limit = clock.now(), remaining_timeout()
        try:
            with map_errors(doing):
                found = pending.get(timeout=limit)
        except ANSWERS as error:
            found = error
        except zk.SessionExpiredError as error:  # or the client was closed
            self.raise_if_closed()
            if self._pinned:
                raise SessionLost(_ENDED) from error
            raise StoreUnavailable(f"cannot {doing}: the session has ended") from error
        except self._handler.timeout_exception as error:
            # Try another connection. kazoo itself postpones its check of this one with each request.
            monitor, max_silence = self._handler.monitor, min(_MAX_SILENCE, self._timeout / 10)
            silent = monitor is not None and monitor.last_received <= begun
            if silent and clock.now() - begun >= max_silence:
                self._handler.socket_handle.abort()
            raise StoreUnavailable(f"cannot {doing}: no answer within {limit:.2f} s") from error
        except LeadershipError as error:
            if (too_long := self._handler.too_long) is not None:
                raise StoreUnavailable(f"cannot {doing}: {too_long}") from error
            raise
        except Exception as error:  # kazoo cannot parse it, so the next answers are not reliable
            self._handler.socket_handle.abort()
            raise unexpected_response(doing, error) from error
        if self._pinned and not ends_session:
            self.raise_if_closed()  # an answer proves nothing once the session has ended
        return found

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is disconnected.

        Raises:
            StoreError: the remaining timeout is shorter, or it was disconnected.
        """
        if remaining_timeout() <= seconds:
            problem = f"to renew a session takes {seconds:g} s after an interruption: too long"
            raise StoreUnavailable(problem)
        self._handler.socket_handle.closed.wait(seconds)
        self.raise_if_closed()

    # -- the end -----------------------------------------------------------------------------

    def close_session(self) -> None:
        """End the session, and return when a server has confirmed that.

        Raises:
            SessionLost: it has ended already.
            StoreUnavailable: no answer within the remaining timeout.
        """
        (pending,) = self.send(lambda kazoo: kazoo.close_session_async())
        self.result(pending, "end the session", ends_session=True)
        with self._changed:
            self.ended_by_server = True
            closed = SessionLost("the session was closed")
            self.close_reason = closed if self._pinned else StoreClosed(_STORE_CLOSED)

    def disconnect(self, why: StoreError | None = None) -> None:
        """Break the connection, and prevent any other; does not end the session; never blocks.

        Threads that wait, and later calls, get the error; by default that the store is closed.
        """
        with self._changed:
            if self.close_reason is None:
                self.close_reason = why or StoreClosed(_STORE_CLOSED)
            self.connected = False
            self._changed.notify_all()
        self._handler.socket_handle.close()

    def join(self, timeout: float) -> None:
        """After `disconnect`: wait for the end of its thread, at most so many seconds."""
        thread = self._handler.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def debug_state(self) -> DebugState:
        """Internal figures, for tests and debugging."""
        return DebugState.of(self._kazoo, self._handler)

    # -- in the thread of kazoo --------------------------------------------------------------

    def _on_connected(self, response: ConnectResponse) -> None:
        with self._changed:
            ended = self._pinned and self._session not in {None, response.session}
            if ended:
                self.ended_by_server = True
                self.close_reason = self.close_reason or SessionLost(_ENDED)
                self._changed.notify_all()
            elif response.timeout > 0:
                self.connect_response, self._session = response, response.session
                self.connection = object()
        if ended:
            self._handler.socket_handle.close()  # or kazoo opens another session

    def _on_connect_failed(self) -> None:
        with self._changed:
            if self._handler.all_failed and self._all_failed_at == math.inf:
                self._all_failed_at = clock.now()
            self._changed.notify_all()

    def _on_state(self, state: str) -> None:
        with self._changed:
            self.connected = state == KazooState.CONNECTED and self.close_reason is None
            self._disconnected_at = math.inf if self.connected else clock.now()
            if self.connected:
                self._handler.on_session_established()
                self._handler.too_long = None
                self._all_failed_at = math.inf
            elif state == KazooState.LOST and self.close_reason is None:
                found = self._kazoo.client_state
                if found == KeeperState.AUTH_FAILED:
                    self.close_reason = authentication_failed()
                elif self._pinned and found == KeeperState.EXPIRED_SESSION:
                    self.ended_by_server, self.close_reason = True, SessionLost(_ENDED)
                elif self._pinned and clock.now() >= self.disconnect_at:
                    # The servers may not have ended it yet.
                    self.close_reason = StoreUnavailable(_NOT_RENEWED)
                elif found == KeeperState.CLOSED:
                    self._given_up = True
                    self.close_reason = StoreUnavailable("kazoo has given up the connection")
                # Otherwise kazoo opens another session.
            self._changed.notify_all()
            closed = self.close_reason is not None
        if closed:
            self._handler.socket_handle.close()
        if closed or self.connected or not self._pinned:
            self._on_change()  # a pinned client without a connection has nothing to read

    def _on_thread_end(self, error: Exception | None) -> None:
        # Instead of kazoo's `stop`, which another thread would have to call, for up to ten seconds.
        self._kazoo.close()
        with self._changed:
            unreported = self.close_reason is None  # kazoo mostly reports that it gives up
            if unreported:
                self.connected, self._given_up = False, True
                self.close_reason = StoreUnavailable(f"the thread of kazoo has ended: {error!r}")
                self._changed.notify_all()
        if unreported:
            self._handler.socket_handle.close()
            self._on_change()
        if isinstance(error, _UNREADABLE):
            problem = one_line(f"{type(error).__name__}: {error}")
            log.warning("kazoo cannot parse an answer, and its client is replaced: %s", problem)
        elif error is not None and self._given_up:
            log.error("a thread of kazoo has died, and its client is replaced", exc_info=error)
        elif error is not None:
            log.debug("a disconnected client of kazoo has ended: %r", error)
