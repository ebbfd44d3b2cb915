"""One connection to a PostgreSQL server, with a total deadline for everything that it does.

libpq works without blocking here, through `psycopg.pq`, and the waits are our own. psycopg's own connection
would ask the server to cancel a statement when a wait is interrupted, and a frozen server does not answer
that either. Here a deadline hangs up: the server rolls back what it has not committed.

See https://www.postgresql.org/docs/current/libpq-async.html.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from psycopg import Error as PsycopgError, pq
from psycopg.conninfo import make_conninfo

from leadership_core.backend import StoreUnavailable, clock, leak

from .errors import ServerError, with_code

__all__ = ["Connection", "ConnectionLost", "Parameter", "Rows"]

Parameter = bytes | str | int | float | None
Rows = list[tuple[bytes | None, ...]]

_OLDEST_VERSION = 12
_CONNECT_SLICE = 0.1  # seconds after which a connection being made looks whether it is still wanted
_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT
_BAD = pq.ConnStatus.BAD

# The routine of the server that warns if a wait for a synchronous standby was cancelled: the commit is on this
# server then, and may be on no other one. The warning has no code of its own, and is in the server's language.
_WAITS_FOR_STANDBY = b"SyncRepWaitForLSN"

_DEFAULT, _VERBOSE = 1, 2  # of PGVerbosity


def _find_verbosity() -> Callable[[int | None, int], object] | None:
    """`PQsetErrorVerbosity` of the libpq that psycopg uses; None where it cannot be had.

    libpq tells the SQLSTATE of a refused connection in its verbose text only, and the usual text is in the language
    of the server (`lc_messages`). psycopg does not offer the function.
    """
    try:
        # It is looked for in the libraries that the extension is linked with, too. Without the extension it is no library.
        library = ctypes.CDLL(str(sys.modules[pq.PGconn.__module__].__file__))
        found = library.PQsetErrorVerbosity
    except (OSError, AttributeError, KeyError):
        return None
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    return found


_set_verbosity = _find_verbosity()


class ConnectionLost(Exception):
    """The connection has ended, or the deadline has passed; the outcome of a statement is unknown."""


class Connection:
    """An open connection; used by one thread at a time. `abort` may be called from any thread.

    Args:
        parameters: of libpq.
        until: when to give up, on `clock.now`.

    Raises:
        ConnectionLost: it cannot be made; the text is libpq's, with the SQLSTATE behind it if there is one.
    """

    def __init__(self, parameters: Mapping[str, str], until: float) -> None:
        self._aborted = False
        self._socket: socket.socket | None = None
        self._doubtful = False
        self.idle_since: float = clock.now()
        try:
            self._pg = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
        except PsycopgError as error:
            raise ConnectionLost(str(error)) from None  # the cause may show the parameters
        try:
            self._connect(until)
        except BaseException:
            self.abort()
            raise

    def _connect(self, until: float) -> None:
        pg = self._pg
        if pg.status == _BAD:
            raise ConnectionLost(pg.get_error_message())
        if _set_verbosity is not None:
            _set_verbosity(getattr(pg, "pgconn_ptr", None), _VERBOSE)
        state = pq.PollingStatus.WRITING
        while True:
            if state == pq.PollingStatus.OK:
                break
            if state == pq.PollingStatus.FAILED:
                raise ConnectionLost(with_code(pg.get_error_message()))
            events = select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
            # In slices: libpq may take another socket on its way, so `abort` has none to shut down yet.
            while not _poll(pg.socket, events, min(until, clock.now() + _CONNECT_SLICE)):
                if self._aborted:
                    raise ConnectionLost("the store was closed")
                if clock.now() >= until:
                    raise ConnectionLost("timeout: the server did not answer in time")
            state = pq.PollingStatus(pg.connect_poll())
        if _set_verbosity is not None:
            _set_verbosity(getattr(pg, "pgconn_ptr", None), _DEFAULT)
        if pg.server_version < _OLDEST_VERSION * 10_000:
            raise ConnectionLost(
                f"the server is PostgreSQL {pg.server_version // 10_000}, and PostgreSQL "
                f"{_OLDEST_VERSION} or later is needed"
            )
        pg.nonblocking = 1
        pg.notice_handler = self._on_notice
        self._socket = socket.socket(fileno=os.dup(pg.socket))
        if self._aborted:
            raise ConnectionLost("the store was closed")

    def _on_notice(self, notice: pq.abc.PGresult) -> None:
        if notice.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == _WAITS_FOR_STANDBY:
            self._doubtful = True

    @property
    def pid(self) -> int:
        """The process id of the server's process, as it was given at the beginning."""
        return self._pg.backend_pid

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._pg.socket

    def is_healthy(self) -> bool:
        """Whether the server has not closed the idle connection; does not block."""
        try:
            while _poll(self._pg.socket, select.POLLIN, 0.0):
                self._pg.consume_input()
                if self._pg.status == _BAD:
                    return False
                if self._pg.transaction_status != pq.TransactionStatus.IDLE:
                    return False
        except (PsycopgError, OSError):
            return False
        return not self._aborted and self._pg.status != _BAD

    def execute(self, sql: str, parameters: Sequence[Parameter], until: float) -> Rows:
        """Execute one statement, which is a transaction of its own; returns its rows.

        Every column has to be text or bytea, since the result is in the binary format.

        Args:
            sql: with ``$1`` and so on.
            parameters: their values; bytes for bytea.
            until: the deadline, on `clock.now`.

        Raises:
            ServerError: the server has refused it.
            ConnectionLost: no answer; the connection has been ended.
        """
        values = [_encoded(one) for one in parameters]
        formats = [_BINARY if isinstance(one, bytes) else _TEXT for one in parameters]
        try:
            self._pg.send_query_params(sql.encode(), values, None, formats or None, _BINARY)
            return self._results(until)
        except ServerError:
            raise
        except PsycopgError as error:
            self.abort()
            raise ConnectionLost(str(error)) from error
        except BaseException:  # Ctrl-C included: nothing else may read the rest of the answer
            self.abort()
            raise

    def script(self, sql: str, until: float) -> None:
        """Execute several statements without parameters.

        Raises:
            ServerError: the server has refused one.
            ConnectionLost: no answer; the connection has been ended.
        """
        try:
            self._pg.send_query(sql.encode())
            self._results(until)
        except ServerError:
            # A transaction that the script has begun must not go on.
            self.abort()
            raise
        except PsycopgError as error:
            self.abort()
            raise ConnectionLost(str(error)) from error
        except BaseException:
            self.abort()
            raise

    def wait(self, until: float, wake: int) -> None:
        """Wait until the server has sent something, `wake` is readable, or the time has passed.

        Raises:
            ConnectionLost: the connection has ended.
        """
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN)
        poll.register(wake, select.POLLIN)
        ready = dict(poll.poll(max(0.0, until - clock.now()) * 1000))
        if self._pg.socket in ready and not self.is_healthy():
            self.abort()
            raise ConnectionLost("the server has closed the connection")

    def take_notifications(self) -> list[str]:
        """Return the payloads that have come since the last call, and forget them."""
        found = []
        while (one := self._pg.notifies()) is not None:
            found.append(one.extra.decode("utf-8", "replace"))
        return found

    def close(self) -> None:
        """End the connection with a Terminate message; does not block."""
        with suppress(PsycopgError, OSError):
            self._pg.finish()  # the socket does not block, so what cannot be sent is dropped
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """Hang up; a thread that waits for an answer gets `ConnectionLost` at once."""
        self._aborted = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def aborted(self) -> bool:
        """Whether it was ended by `abort`."""
        return self._aborted

    def after_fork_in_child(self) -> None:
        """Keep the inherited socket from being used or closed with a message."""
        self._aborted = True
        leak(self._pg)

    def _results(self, until: float) -> Rows:
        pg = self._pg
        self._doubtful = False
        while pg.flush():
            if _wait(pg.socket, select.POLLIN | select.POLLOUT, until) & select.POLLIN:
                pg.consume_input()
        rows: Rows = []
        problem: ServerError | None = None
        while True:
            while pg.is_busy():
                _wait(pg.socket, select.POLLIN, until)
                pg.consume_input()
            result = pg.get_result()
            if result is None:
                break
            if result.status in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
                rows = [
                    tuple(result.get_value(row, column) for column in range(result.nfields))
                    for row in range(result.ntuples)
                ]
            else:
                problem = problem or _server_error(result)
        if problem is not None:
            if problem.severity != "ERROR" or pg.status == _BAD:
                self.abort()
            if not problem.code:  # libpq's own: the connection has ended
                raise ConnectionLost(problem.message)
            raise problem
        if pg.status == _BAD:
            raise ConnectionLost(pg.get_error_message())
        if self._doubtful:
            raise StoreUnavailable(
                "the commit is on the primary, and it is unknown whether it is on the synchronous standby, "
                "because the wait for that was cancelled"
            )
        self.idle_since = clock.now()
        return rows


def _poll(descriptor: int, events: int, until: float) -> int:
    poll = select.poll()
    poll.register(descriptor, events)
    found = poll.poll(max(0.0, until - clock.now()) * 1000)
    return found[0][1] if found else 0


def _wait(descriptor: int, events: int, until: float) -> int:
    found = _poll(descriptor, events, until)
    while not found:
        if clock.now() >= until:
            raise ConnectionLost("no answer in time")
        found = _poll(descriptor, events, until)
    return found


def _encoded(value: Parameter) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else repr(value).encode()


def _server_error(result: pq.abc.PGresult) -> ServerError:
    field = pq.DiagnosticField

    def text(name: pq.DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode("utf-8", "replace")

    return ServerError(
        text(field.SQLSTATE),
        text(field.SEVERITY_NONLOCALIZED) or text(field.SEVERITY),
        text(field.MESSAGE_PRIMARY) or result.get_error_message(),
    )
