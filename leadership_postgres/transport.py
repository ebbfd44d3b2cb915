"""The connections of one store: a few, opened when they are needed, to the server that takes writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from leadership_core.backend import (
    Addresses,
    Attempt,
    EventCount,
    Flag,
    ForkedStore,
    NotApplied,
    RateLimiter,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    clock,
    is_unknown_host,
    one_line,
    remaining_timeout,
)

from .connection import Connection, ConnectionLost, Parameter, Rows
from .errors import connect_error, is_lasting
from .options import Options

__all__ = ["TrafficClass", "Transport"]

log: logging.Logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_CONNECT_RATE, _CONNECT_BURST = 5.0, 20.0  # connections a second, for all threads of a store
_IDLE = 30.0  # seconds after which a second idle connection is closed
_STATEMENT_TIMEOUT = 30.0  # seconds after which the server itself gives up a statement
_KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class TrafficClass(Enum):
    """What a request is for."""

    REQUESTS = "requests"
    RENEWALS = "renewals"
    """One connection is left for them, so that statements that wait for a row do not delay them."""


class Transport:
    """Sends statements; thread-safe.

    Each blocks for `remaining_timeout` at most, connecting included.

    Args:
        options: of the store.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.closed: Flag = Flag()
        self._addresses = Addresses(options.hosts, thread="leadership-postgres-resolve")
        self._limiter = RateLimiter(_CONNECT_BURST, _CONNECT_RATE)
        # Reentrant, because a signal handler may close the store in the middle of a request.
        self._lock = threading.RLock()
        self._returned = EventCount()
        self._idle: list[Connection] = []
        self._used = 0  # places that are taken: connections in use, or being made
        self._open: set[Connection] = set()
        self._forked = False
        self._password_version = -1

    def run(
        self,
        doing: str,
        sql: str,
        parameters: Sequence[Parameter] = (),
        *,
        traffic: TrafficClass = TrafficClass.REQUESTS,
    ) -> Rows:
        """Execute one statement as a transaction of its own; returns its rows.

        Args:
            doing: what it is for, for messages: ``cannot {doing}``.
            sql: with ``$1`` and so on; each column is text or bytea.
            parameters: the values.
            traffic: what it is for.

        Raises:
            NotApplied: it was not sent, or the server has rolled it back.
            StoreRefused: the server refuses it until the configuration is changed.
            StoreUnavailable: no answer; it may have been applied.
            ServerError: a table or function is missing.
        """
        until = clock.now() + remaining_timeout()
        return self._with_connection(
            lambda connection: connection.execute(sql, parameters, until), doing, until, traffic
        )

    def run_script(self, doing: str, sql: str) -> None:
        """Execute a script without parameters; raises as `run`."""
        until = clock.now() + remaining_timeout()
        self._with_connection(
            lambda connection: connection.script(sql, until), doing, until, TrafficClass.REQUESTS
        )

    def _with_connection(
        self,
        use: Callable[[Connection], ResultT],
        doing: str,
        until: float,
        traffic: TrafficClass,
    ) -> ResultT:
        given = until - clock.now()
        connection = self._acquire(until, traffic)
        try:
            return use(connection)
        except ConnectionLost as error:
            self.check_open()
            late = clock.now() >= until
            reason = f"no answer within {given:.2f} s" if late else one_line(error, 200)
            raise StoreUnavailable(f"cannot {doing}: {reason}") from error
        finally:
            self._release(connection)

    def _acquire(self, until: float, traffic: TrafficClass) -> Connection:
        most = self.options.connections - (traffic is not TrafficClass.RENEWALS)
        connection: Connection | None = None
        while True:
            self.check_open()
            self._drop_idle()
            with self._lock:
                if self._used < most:
                    self._used += 1
                    connection = self._idle.pop() if self._idle else None
                    break
            if clock.now() >= until:
                raise NotApplied(
                    f"all {most} connections are in use, by requests that wait: see the option connections="
                )
            self._returned.wait_for(
                lambda: self._used < most or self.closed.is_set(), until - clock.now()
            )
        try:
            # The server may have closed it while it was idle.
            while connection is not None and not connection.is_healthy():
                self._discard(connection)
                with self._lock:
                    connection = self._idle.pop() if self._idle else None
            return connection or self.connect(until)
        except BaseException:
            with self._lock:
                self._used -= 1
            self._returned.notify_all()
            raise

    def _release(self, connection: Connection) -> None:
        with self._lock:
            self._used -= 1
            if not connection.aborted and not self.closed.is_set() and not self._forked:
                self._idle.append(connection)
                connection = None  # type: ignore[assignment]  # it is kept
        if connection is not None and not self._forked:
            self._discard(connection)
        self._returned.notify_all()

    def _drop_idle(self) -> None:
        """Close connections that a burst of requests has left; one stays."""
        stale: list[Connection] = []
        password = self.options.password
        version = 0 if password is None else password.version
        with self._lock:
            if version != self._password_version:
                stale, self._idle = (
                    (self._idle, []) if self._password_version >= 0 else ([], self._idle)
                )
                self._password_version = version
            while len(self._idle) > 1 and clock.now() - self._idle[0].idle_since > _IDLE:
                stale.append(self._idle.pop(0))
        for one in stale:
            self._discard(one)

    def _discard(self, connection: Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def connect(self, until: float) -> Connection:
        """Open a connection to the first server that takes writes; the caller discards it.

        Raises:
            NotApplied: none can be made now.
            StoreRefused: none can be made until the configuration is changed.
        """
        if (delay := self._limiter.delay()) > 0:
            if clock.now() + delay >= until:
                raise NotApplied("connections to PostgreSQL end as fast as they are made")
            self.closed.wait(delay)
            self.check_open()
        self._limiter.consume()
        failed: list[tuple[str, bool]] = []
        for attempt in self._addresses.attempts(until, wanted=lambda: not self.closed.is_set()):
            self.check_open()
            found = self._try(attempt, failed)
            if found is not None:
                return found
        self.check_open()
        reasons = "; ".join(reason for reason, _ in failed) or "no time left"
        message = self._masked(f"cannot connect to PostgreSQL: {reasons}")
        if failed and all(lasting for _, lasting in failed):
            raise StoreRefused(message)
        raise NotApplied(message)

    def _try(self, attempt: Attempt, failed: list[tuple[str, bool]]) -> Connection | None:
        if attempt.address is None:
            error = attempt.error or OSError("it cannot be resolved")
            unknown = is_unknown_host(error)
            advice = "unknown host; check the name in the URL" if unknown else one_line(error, 200)
            failed.append((f"{attempt.host}: {advice}", unknown))
            return None
        address = attempt.address
        try:
            parameters = self._parameters(address.name, address.number, attempt.host.port or 0)
            connection = Connection(parameters, attempt.until)
        except ConnectionLost as error:
            self._addresses.failed(address)
            text = str(error)
            refused = "Connection refused" in text
            advice = (
                "connection refused; is PostgreSQL running there?"
                if refused
                else connect_error(text)
            )
            failed.append((f"{address}: {advice}", is_lasting(text)))
            return None
        with self._lock:
            self._open.add(connection)
        if self.closed.is_set():
            connection.abort()
        self._addresses.works(address)
        return connection

    def _parameters(self, host: str, number: str, port: int) -> dict[str, str]:
        options = self.options
        parameters = {
            # The name for the certificate, and the address, so that libpq resolves nothing.
            "host": host,
            "hostaddr": number,
            "port": str(port),
            "dbname": options.database,
            "application_name": "leadership",
            "client_encoding": "UTF8",
            # A standby, or a primary that was demoted, is passed over.
            "target_session_attrs": "read-write",
            "gssencmode": "disable",  # Kerberos libraries block
            **_KEEPALIVE,
            **options.tls,
        }
        if options.user:
            parameters["user"] = options.user
        if options.password is not None:
            parameters["password"] = options.password.reveal()
        if not options.pgbouncer:
            # PgBouncer passes none of these on. What is safe does not rest on them: the functions of the
            # schema set synchronous_commit and lock_timeout themselves, and check the isolation.
            milliseconds = round(_STATEMENT_TIMEOUT * 1000)
            parameters["options"] = (
                f"-c statement_timeout={milliseconds} -c synchronous_commit=on "
                r"-c default_transaction_isolation=read\ committed -c bytea_output=hex"
            )
        return parameters

    def _masked(self, text: str) -> str:
        password = self.options.password
        return text if password is None else password.masked(text)

    def check_open(self) -> None:
        """Raise `StoreClosed` or `ForkedStore` if no request may begin."""
        if self._forked:
            raise ForkedStore("the store belongs to the parent process: open one in the child")
        if self.closed.is_set():
            raise StoreClosed("the store is closed")

    def discard(self, connection: Connection) -> None:
        """Close a connection that `connect` has returned."""
        self._discard(connection)

    def close(self) -> None:
        """Abort the requests under way, and let no other begin; may be called again."""
        self.closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
            others = self._open.difference(idle)
        for one in others:
            one.abort()  # the thread that uses it discards it
        for one in idle:
            self._discard(one)
        self._returned.notify_all()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self._forked = True
        for one in tuple(self._open):
            one.after_fork_in_child()
