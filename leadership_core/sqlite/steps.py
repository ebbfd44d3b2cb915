"""Reads and writes of the database, each of them one step for everybody who looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from .. import clock
from ..budget import remaining_budget
from ..errors import StoreUnavailable
from ..store import Entry
from .connection import Connection
from .database import Database, File
from .faults import patiently, translated
from .step import Row, Span, Step, read_rows, renew
from .turns import Turns

__all__ = ["FileReplaced", "Steps"]


class FileReplaced(StoreUnavailable):
    """What was written went to a file that is no longer at the path."""


class Steps:
    """All access to one database but that of the watches; thread-safe.

    Attributes:
        on_commit: called after each write, when nothing is locked any more.

    Args:
        database: where.
        now: seconds, the same for all processes that use the database.
        boot: the machine's boot.
    """

    def __init__(self, database: Database, now: clock.Clock, boot: str) -> None:
        self.on_commit: Callable[[], object] | None = None
        self.now: Final = now
        self.boot: Final = boot
        self._database: Final = database
        self._turns: Final = Turns()

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[tuple[File, Step]]:
        """Do what is inside in one write transaction, or nothing of it if it raises.

        Args:
            urgent: let no other write of this process go first.

        Raises:
            FileReplaced: it was done in a file that is gone.
            StoreUnavailable: nothing was done, or nobody knows: committing failed.
        """
        self._database.check_open()
        until = clock.now() + remaining_budget()
        with (
            translated(),
            self._turns.take(urgent=urgent, until=until),
            self._database.connection(until) as (file, connection),
        ):
            patiently(lambda: connection.change("BEGIN IMMEDIATE"), until)
            try:
                step = Step(connection, self.now(), self.boot)
                step.expire()
                yield file, step
                connection.change("COMMIT")
            finally:
                connection.roll_back()
            if not self._database.holds(file):
                raise FileReplaced(f"{self._database.path} was replaced")
        if self.on_commit is not None:
            self.on_commit()

    def renew(self, session: str, file: File) -> bool:
        """Let the ttl of a session in that file begin anew; False if it has ended.

        Raises:
            FileReplaced: that file is no longer at the path.
            StoreUnavailable: nothing was done, or nobody knows.
        """
        self._database.check_open()
        until = clock.now() + remaining_budget()
        with (
            translated(),
            self._turns.take(urgent=True, until=until),
            self._database.connection(until) as (found, connection),
        ):
            # Nor may its file have been away in the meantime.
            renewed = found is file and self._renew(connection, session, until)
            if found is not file or not self._database.holds(file):
                raise FileReplaced(f"{self._database.path} was replaced")
        return renewed

    def _renew(self, connection: Connection, session: str, until: float) -> bool:
        # Without waiting for the disk, which may stall for seconds: should the machine go down
        # before the renewal is on it, the session ends with the boot anyway.
        connection.change("PRAGMA synchronous = NORMAL")
        try:
            return patiently(lambda: renew(connection, session, self.now(), self.boot), until)
        finally:
            connection.change("PRAGMA synchronous = FULL")

    def read(self, span: Span) -> list[Entry]:
        """Return what is in the span.

        Raises:
            StoreUnavailable: it could not be read.
        """
        until = clock.now() + remaining_budget()
        with translated(), self._database.connection(until) as (_, connection):
            rows = patiently(lambda: read_rows(connection, span), until)
        now = self.now()
        if any(self._has_ended(row, now) for row in rows):
            # Somebody may be renewing that session, having looked at the clock in time. Whether
            # it has ended is not known before that is through, so this takes a turn in writing.
            with self.write() as (_, step):
                return step.entries(span)
        return [Entry(*row[:4]) for row in rows]

    def expire(self) -> None:
        """Delete the sessions that have ended, and what is bound to them."""
        with self.write():
            pass

    def _has_ended(self, row: Row, now: float) -> bool:
        session, expires_at, boot = row[3:]
        return session is not None and (
            expires_at is None or expires_at <= now or boot != self.boot
        )
