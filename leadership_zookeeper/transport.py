"""The handler of one kazoo client: its thread, its sockets, its poll loop and its pauses.

A handler is kazoo's extension point for these. This one has no callback threads: callbacks only
set flags, so the connection's thread runs them directly. Every wait ends when the socket handle
is closed, for which kazoo itself has no method.
"""

from __future__ import annotations

import logging
import math
import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kazoo.retry import RetryFailedError

from leadership_core.backend import (
    Address,
    Addresses,
    ClientTLS,
    ConnectFailure,
    Host,
    RateLimiter,
    bare,
    clock,
    is_hang_up,
    start_daemon,
)

from .monitored_sockets import MonitoredSocket, MonitoredTLSSocket, connect
from .pending_answer import PendingAnswer
from .request_signal import RequestAnnouncer, RequestSignal, request_signals
from .sockets import (
    MAX_ANSWER,
    MAX_NAMES_ANSWER,
    AnswerTooLong,
    ConnectionMonitor,
    ConnectResponse,
    SocketHandle,
)

if TYPE_CHECKING:

    class _KazooHandler:
        """The part of kazoo's class, which has no types, that is used here."""

        timeout_exception: type[Exception]
else:
    from kazoo.handlers.threading import SequentialThreadingHandler as _KazooHandler

__all__ = ["Handler"]

log: logging.Logger = logging.getLogger(__name__)

# Ticks between two heartbeats. A server forwards those of its clients to the leader twice a tick.
_HEARTBEAT_INTERVAL = 0.1

# Requests are sent together where many wait, but not kept back for long: bytes, and answers or requests.
_MOST_UNSENT, _MOST_WITHOUT_POLL = 16 * 1024, 32

_MAX_POLL = 3600.0  # seconds: poll() rejects a month, which a server may grant

_MONITORED = (MonitoredSocket, MonitoredTLSSocket)
_READ = select.POLLIN | select.POLLPRI
_BROKEN = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Handler(_KazooHandler):
    """The thread, the sockets and the pauses of one kazoo client.

    Args:
        name: of the thread.
        addresses: of the servers, shared by all clients of the store.
        hosts: number of servers in the URL; kazoo gets as many `placeholders`.
        tls: None for plain connections.
        server_timeout: seconds for a server to accept a connection, and again to answer.
        tick: the servers' tickTime in seconds.
        allow_pings: whether kazoo may extend the session by itself, without limit.
        on_connected: called with the answer to each connect request.
        until: returns when the socket handle is to be closed, on `clock.now`.
        on_connect_failed: called when a server could not be connected to.
        on_thread_end: called at the end of the thread, with the error that ended it or None.
        limiter: of accepted connections; see `Options.new_connect_limiter`.

    Attributes:
        socket_handle: closes all connections.
        failures: by server, since the last success.
        thread: kazoo's, once it has started.
        monitor: of the current connection.
        too_long: the error that broke the last connection, if an answer was too long.
        asks_for_names: returns for the xid of a request whether it asks for a node's children.
        heartbeat_until: when to stop extending the session, on `clock.now`.
        connects: number of connections that kazoo has asked for.
        write_timeout: seconds for a server to take requests.
    """

    def __init__(
        self,
        name: str,
        addresses: Addresses,
        hosts: int,
        tls: ClientTLS | None,
        server_timeout: float,
        tick: float,
        *,
        allow_pings: bool,
        on_connected: Callable[[ConnectResponse], None],
        until: Callable[[], float],
        on_connect_failed: Callable[[], None],
        on_thread_end: Callable[[Exception | None], None],
        limiter: RateLimiter,
    ) -> None:
        super().__init__()
        self.socket_handle: SocketHandle = SocketHandle()
        self.failures: dict[Address | Host, ConnectFailure] = {}
        self.thread: threading.Thread | None = None
        self.monitor: ConnectionMonitor | None = None
        self.too_long: AnswerTooLong | None = None
        self.asks_for_names: Callable[[int], bool] = lambda _: False
        self.heartbeat_until: float = -math.inf
        self.connects: int = 0
        self.write_timeout: float | None = server_timeout
        self._without_poll = 0  # calls of `select` since the last poll
        self._name = name
        self._addresses = addresses
        self._hosts = hosts
        self._limiter = limiter
        self._trying: Address | Host | None = None
        self._tls = tls
        self._server_timeout = server_timeout
        self._heartbeat_interval = tick * _HEARTBEAT_INTERVAL
        self._allow_pings = allow_pings
        self._on_connected = on_connected
        self._until = until
        self._on_connect_failed = on_connect_failed
        self._on_thread_end = on_thread_end

    @property
    def placeholders(self) -> str:
        """The host list for kazoo, in place of the real one.

        kazoo resolves names without a time limit and drops unknown ones, with a log record only.
        It leaves numbers alone; `create_connection` decides which server is tried.
        """
        return ",".join(f"127.0.0.1:{number + 1}" for number in range(self._hosts))

    @property
    def all_failed(self) -> bool:
        """Whether every server has failed since the last success."""
        return all(entry in self.failures for entry in self._addresses.entries())

    # -- called by kazoo ---------------------------------------------------------------------

    def start(self) -> None:
        """Do nothing: there are no callback threads."""

    def stop(self) -> None:
        """Do nothing: there are no callback threads."""

    def spawn(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> threading.Thread:
        def run() -> None:
            died: Exception | None = None
            try:
                func(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - of kazoo's; the client reports it
                died = error
            finally:
                self._on_thread_end(died)

        self.thread = start_daemon(run, self._name)
        return self.thread

    def dispatch_callback(self, callback: Any) -> None:
        try:
            callback.func(*callback.args)
        except Exception:  # the connection must survive it
            log.exception("A watch has failed")

    def sleep_func(self, seconds: float) -> None:
        self.socket_handle.closed.wait(seconds)
        self._raise_if_closed()

    def create_connection(self, *_: Any, **__: Any) -> socket.socket:
        def on_connected(response: ConnectResponse) -> None:
            self._limiter.consume()
            self._on_connected(response)

        self.sleep_func(self._limiter.delay())
        self.connects += 1
        until = clock.now() + self._attempt_timeout()
        problem: OSError = TimeoutError("no time left to connect")
        # One host per call, since kazoo goes on to the next; but all of its addresses.
        for attempt in self._addresses.attempts(
            until, wanted=lambda: not self.socket_handle.closed.is_set(), one_host=True
        ):
            self._trying = attempt.address or attempt.host
            if attempt.address is None:
                problem = attempt.error or problem
                self._record_failure(problem)
                continue
            # The next call begins with another one, whether this one succeeds or not.
            self._addresses.used(attempt.address)
            self.monitor = ConnectionMonitor(
                on_connected,
                self._record_failure,
                lambda xid: MAX_NAMES_ANSWER if self.asks_for_names(xid) else MAX_ANSWER,
                allow_pings=self._allow_pings,
            )
            context = None if self._tls is None else self._tls.context()
            try:
                return connect(
                    self.socket_handle, attempt.address, attempt.until, self.monitor, context
                )
            except OSError as error:
                self._record_failure(error)
                problem = error
            self._raise_if_closed()
        raise problem

    def select(
        self,
        rlist: Sequence[Any],
        wlist: Sequence[Any],
        xlist: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        self._raise_if_closed()
        idle = _is_idle(rlist)
        if idle and (ready := self._ready_without_poll(*rlist)):
            return ready, [], []
        self._flush(rlist[0])
        responded = self.monitor is not None and self.monitor.responded
        if not responded:
            limit = self._attempt_timeout()
            timeout = limit if timeout is None else min(timeout, limit)
        elif idle and not self._allow_pings:
            # kazoo would take an empty result as a reason to send a ping, and break the
            # connection when the ping, which is suppressed, is not answered.
            timeout = None
        readable, writable = self._poll(rlist, wlist, timeout)
        if not (responded or readable or writable):
            self._record_failure(TimeoutError("it takes connections and does not answer"))
        return readable, writable, []

    def async_result(self) -> PendingAnswer:
        return PendingAnswer(self.timeout_exception)

    def create_socket_pair(self) -> tuple[RequestSignal, RequestAnnouncer]:
        return request_signals()

    # -- called by the client ----------------------------------------------------------------

    def on_session_established(self) -> None:
        """Forget the failures: a session is connected; called in the thread."""
        self.failures.clear()

    # -- in the thread -----------------------------------------------------------------------

    def _attempt_timeout(self) -> float:
        return min(self._server_timeout, max(0.001, self._until() - clock.now()))

    def _raise_if_closed(self) -> None:
        if not self.socket_handle.closed.is_set() and clock.now() >= self._until():
            self.socket_handle.close()
        if self.socket_handle.closed.is_set():
            # The one exception that ends kazoo's thread in an orderly way.
            raise RetryFailedError("the client was disconnected")

    def _record_failure(self, error: Exception) -> None:
        if isinstance(error, AnswerTooLong):
            self.too_long = error
        log.debug("cannot connect to %s: %s", self._trying, error)
        where = self._trying
        assert where is not None  # there is no failure without an attempt
        self._addresses.failed(where)
        tls = self._tls if is_hang_up(error) and where not in self.failures else None
        if tls is not None and isinstance(where, Address):
            error = tls.why_hung_up(where, clock.now() + self._attempt_timeout()) or error
        has_certificate = self._tls is not None and self._tls.cert is not None
        self.failures[where] = ConnectFailure(
            str(where),
            bare(error),
            where.host if isinstance(where, Address) else where,
            has_certificate,
        )
        self._on_connect_failed()

    def _ready_without_poll(self, sock: Any, requests: RequestSignal) -> list[Any]:
        """What kazoo can go on with: an answer that was read ahead, or a request for the next `flush`."""
        ready: list[Any] = [sock] if sock.pending() > 0 else []
        if requests.announced and sock.unsent < _MOST_UNSENT:
            ready.append(requests)
        elif ready:
            self._flush(sock)
        self._without_poll += 1
        return ready if self._without_poll <= _MOST_WITHOUT_POLL else []

    def _flush(self, sock: Any) -> None:
        """Send the requests that the socket has taken.

        Raises:
            OSError: the connection is broken.
            KazooTimeoutError: the server takes no more bytes.
        """
        while not sock.flush():
            if not self._poll([], [sock], self.write_timeout)[1]:
                raise self.timeout_exception("the server takes no requests")

    def _poll(
        self, rlist: Sequence[Any], wlist: Sequence[Any], timeout: float | None
    ) -> tuple[list[Any], list[Any]]:
        """Poll the sockets; while kazoo is idle, send heartbeats, and end an expired session."""
        self._without_poll = 0
        requests = rlist[1] if _is_idle(rlist) else None
        poll = select.poll()
        for one in rlist:
            poll.register(one, _READ)
        for one in wlist:
            poll.register(one, select.POLLOUT)
        idle = rlist[0] if _is_idle(rlist) and timeout is None else None
        buffered = [one for one in rlist if isinstance(one, _MONITORED) and one.pending() > 0]
        end = math.inf if timeout is None else clock.now() + timeout
        while True:
            heartbeat_at = math.inf if idle is None else self._send_heartbeat_if_due(idle)
            wake_at = min(end, heartbeat_at, self._until())
            milliseconds: float | None = None
            if requests is not None:
                requests.waits = True  # first; see `RequestAnnouncer.send`
            if buffered or (requests is not None and requests.announced):
                milliseconds = 0
            elif wake_at < math.inf:
                milliseconds = min(max(0.0, wake_at - clock.now()), _MAX_POLL) * 1000 + 1
            events = dict(poll.poll(milliseconds))
            if requests is not None:
                requests.waits = False
                if requests.fileno() in events:
                    requests.clear()
            if idle is not None and clock.now() >= self._until() and _is_writable(idle):
                idle.send_close()  # the session was not renewed in time
                self.socket_handle.closed.set()
            self._raise_if_closed()
            readable = [
                one
                for one in rlist[:1]
                if one in buffered or events.get(one.fileno(), 0) & (_READ | _BROKEN)
            ]
            if requests is not None and requests.announced:
                readable.append(requests)
            writable = [one for one in wlist if one.fileno() in events]
            if readable or writable or clock.now() >= end:
                return readable, writable

    def _send_heartbeat_if_due(self, sock: Any) -> float:
        """Send a heartbeat if it is time; returns when the next one is due."""
        now = clock.now()
        if self.monitor is None or now >= self.heartbeat_until:
            return math.inf
        if now < self.monitor.last_heartbeat + self._heartbeat_interval:
            return self.monitor.last_heartbeat + self._heartbeat_interval
        if not self.monitor.heartbeat_pending and _is_writable(sock):
            self.monitor.record_heartbeat()  # first: it must not count as sent later than it was
            sock.send_heartbeat()
        return now + self._heartbeat_interval


def _is_idle(rlist: Sequence[Any]) -> bool:
    """Whether kazoo is between two requests, which no public attribute of it shows.

    Its loop then waits for the socket and for the pipe that announces new requests; while it
    connects or reads the rest of an answer, it waits for the socket alone. The socket comes first.
    (kazoo 2.9 to 2.11; `tests/integration/zookeeper/test_sessions.py` fails with other releases.)
    """
    return len(rlist) > 1


def _is_writable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))
