"""Executor of the database's transactions: each read and write is atomic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ...backend import clock
from ...backend.deadline import remaining_timeout
from ...backend.entries import Entry
from ...errors import StoreUnavailable
from .connection import Connection
from .database import Database, File
from .errors import map_errors, retry_while_busy
from .transactions import (
    Row,
    Span,
    State,
    Transaction,
    latest_change,
    read_rows,
    read_rows_and_state,
    renew,
)
from .write_job import WriteJob
from .write_queue import Ticket, WriteQueue

__all__ = ["FileReplaced", "TransactionExecutor"]

T = TypeVar("T")

_MOST_IN_ONE_COMMIT = 64
"""Writes. A renewal waits for one commit at most, so that must not take long."""


def _begin(connection: Connection, deadline: float, *, durable: bool = True) -> None:
    """Begin a write transaction, once SQLite's lock is free."""

    def begin() -> None:
        connection.set_durability(durable=durable)
        connection.change("BEGIN IMMEDIATE")

    retry_while_busy(begin, deadline)


class FileReplaced(StoreUnavailable):
    """The write was committed to a file that is no longer at the path."""


class TransactionExecutor:
    """Reads and writes one database; thread-safe.

    Its calls wait for locks for `remaining_timeout()` at most, and as long as the disk takes.

    Args:
        database: the database.
        now: returns seconds, the same for all processes that use the database.
        boot: id of the machine's boot.

    Attributes:
        on_commit: called after each write, with no lock held.
    """

    def __init__(self, database: Database, now: clock.Clock, boot: str) -> None:
        self.on_commit: Callable[[], object] | None = None
        self.now: Final = now
        self.boot: Final = boot
        self._database: Final = database
        self._write_queue: Final[WriteQueue[WriteJob[Any]]] = WriteQueue()

    def execute(self, operation: Callable[[File, Transaction], T], *, durable: bool = True) -> T:
        """Execute a write in a transaction, together with others that wait at this moment.

        Each has its own outcome: what one of them writes is undone if it raises, and the others are
        committed. One commit, which waits for the disk, serves all of them.

        Args:
            operation: reads and writes in the transaction, and does nothing else: it may be executed in
                another thread.
            durable: wait for the disk. Without that a power cut may undo the write, so nothing may
                depend on it that outlasts the boot.

        Raises:
            Exception: what the operation raises; nothing of it is written then.
            FileReplaced: it was committed to a file that is gone.
            NotApplied: nothing was written.
            StoreUnavailable: nothing was written, or committing failed and the outcome is unknown.
        """
        self._database.check_open()
        deadline = clock.now() + remaining_timeout()
        job = WriteJob(operation, durable=durable)
        ticket = Ticket[WriteJob[Any]](job)
        if self._write_queue.enter(ticket, deadline):
            try:
                committed = self._execute_waiting(job, deadline)
            finally:
                self._write_queue.leave()
            if self.on_commit is not None and committed:
                self.on_commit()
        return job.result()

    def _execute_waiting(self, own: WriteJob[Any], deadline: float) -> bool:
        """Execute the job of this thread, whose turn it is, and those of the threads that wait.

        Returns:
            Whether something was written.
        """
        jobs, tickets = [own], []
        try:
            with map_errors(), self._database.connection(deadline) as (file, connection):
                _begin(connection, deadline, durable=own.durable)
                try:
                    # Taken now: until here the deadline of this thread may have passed, and only that.
                    tickets = self._write_queue.take_jobs(
                        _MOST_IN_ONE_COMMIT - 1, lambda job: own.durable or not job.durable
                    )
                    jobs += [ticket.job for ticket in tickets if ticket.job is not None]
                    transaction = Transaction(connection, self.now(), self.boot)
                    transaction.expire()
                    for job in jobs:
                        job.execute(file, transaction, alone=not tickets)
                    if all(job.failed for job in jobs):
                        return False
                    connection.change("COMMIT")
                finally:
                    connection.roll_back()
                if not self._database.is_current(file):
                    raise FileReplaced(f"{self._database.path} was replaced")
        except BaseException as error:
            for job in jobs:
                job.fail(error)
            if not isinstance(error, Exception):
                raise
            return False
        finally:
            for ticket in tickets:
                ticket.wake()
        return True

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[tuple[File, Transaction]]:
        """Execute the block in one write transaction, which is rolled back if the block raises.

        Args:
            urgent: do not queue behind other writes of this process.

        Raises:
            FileReplaced: it was committed to a file that is gone.
            NotApplied: nothing was written.
            StoreUnavailable: nothing was written, or committing failed and the outcome is unknown.
        """
        self._database.check_open()
        deadline = clock.now() + remaining_timeout()
        with (
            map_errors(),
            self._write_queue.turn(urgent=urgent, deadline=deadline),
            self._database.connection(deadline) as (file, connection),
        ):
            _begin(connection, deadline)
            try:
                transaction = Transaction(connection, self.now(), self.boot)
                transaction.expire()
                yield file, transaction
                connection.change("COMMIT")
            finally:
                connection.roll_back()
            if not self._database.is_current(file):
                raise FileReplaced(f"{self._database.path} was replaced")
        if self.on_commit is not None:
            self.on_commit()

    def renew(self, session: str, file: File) -> bool:
        """Restart the ttl of a session in that file; returns False if the session has ended.

        Args:
            session: the session's id.
            file: the file that the session was opened in.

        Raises:
            FileReplaced: that file is no longer at the path.
            StoreUnavailable: nothing was written, or the outcome is unknown.
        """
        self._database.check_open()
        deadline = clock.now() + remaining_timeout()
        with (
            map_errors(),
            self._write_queue.turn(urgent=True, deadline=deadline),
            self._database.connection(deadline) as (found, connection),
        ):
            renewed = False
            if found is file:  # and never was replaced meanwhile
                # Without waiting for the disk, which may stall for seconds: should the machine go
                # down before the renewal is on it, the session ends with the boot anyway.

                def restart_ttl() -> bool:
                    connection.set_durability(durable=False)
                    return renew(connection, session, self.now(), self.boot)

                renewed = retry_while_busy(restart_ttl, deadline)
            if found is not file or not self._database.is_current(file):
                raise FileReplaced(f"{self._database.path} was replaced")
        return renewed

    def read(self, span: Span) -> list[Entry]:
        """Return the entries of the span.

        Raises:
            StoreUnavailable: they could not be read.
        """
        deadline = clock.now() + remaining_timeout()
        with map_errors(), self._database.connection(deadline) as (_, connection):
            rows = retry_while_busy(lambda: read_rows(connection, span), deadline)
        return self._entries(span, rows)[0]

    def read_state(self, span: Span) -> tuple[State, list[Entry]]:
        """Return the entries of the span, and the state of the database that they belong to.

        Raises:
            StoreUnavailable: they could not be read.
        """
        deadline = clock.now() + remaining_timeout()
        with map_errors(), self._database.connection(deadline) as (file, connection):
            number, rows = retry_while_busy(lambda: read_rows_and_state(connection, span), deadline)
        entries, newer = self._entries(span, rows)
        return newer or State(file.number, number), entries

    def _entries(self, span: Span, rows: list[Row]) -> tuple[list[Entry], State | None]:
        """Make the entries of rows; if it has to read them again, it returns the state of that time, too."""
        now = self.now()
        if any(
            session is not None and (expires_at is None or expires_at <= now or boot != self.boot)
            for *_, session, expires_at, boot in rows
        ):
            # Its renewal may be under way in another process, which has read the clock in time. Only
            # the write lock shows whether the session has ended.
            with self.write() as (file, transaction):
                state = State(file.number, latest_change(transaction.connection))
                return transaction.entries(span), state
        return [Entry(*row[:4]) for row in rows], None

    def expire(self) -> None:
        """Delete the sessions that have ended, and the entries bound to them."""
        with self.write():
            pass
