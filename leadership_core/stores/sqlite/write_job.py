"""One write in the queue, and its outcome, in whichever thread it is executed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from ...errors import StoreUnavailable
from .database import File
from .errors import map_errors
from .transactions import Transaction

__all__ = ["WriteJob"]

T = TypeVar("T")


class WriteJob(Generic[T]):
    """A write and its outcome, which is reported to the thread that requested it, and to no other.

    Args:
        operation: reads and writes in the transaction, and does nothing else: it may be executed in
            another thread.
        durable: its commit waits for the disk.

    Attributes:
        durable: as given.
        failed: it has raised, and nothing of it is written, or the commit has failed.
    """

    __slots__ = ("_error", "_operation", "_result", "durable", "failed")

    def __init__(
        self, operation: Callable[[File, Transaction], T], *, durable: bool = True
    ) -> None:
        self.durable: Final = durable
        self._operation: Final = operation
        self._result: Any = None
        self._error: BaseException | None = None
        self.failed: bool = False

    def execute(self, file: File, transaction: Transaction, *, alone: bool) -> None:
        """Execute it, and undo what it has written if it raises.

        Args:
            file: which is written.
            transaction: whose commit decides about the outcome.
            alone: the transaction has no other writes, and is rolled back if this fails.

        Raises:
            sqlite3.Error: the transaction has ended, and nothing of it is written.
        """
        connection = transaction.connection
        if not alone:
            connection.change("SAVEPOINT one")
        try:
            with map_errors():
                self._result = self._operation(file, transaction)
        except Exception as error:
            self.failed, self._error = True, error
            if not alone:
                if not connection.in_transaction:
                    raise  # SQLite has rolled back everything
                connection.change("ROLLBACK TO one")
        if not alone:
            connection.change("RELEASE one")

    def fail(self, error: BaseException) -> None:
        """Note that the transaction has failed with it, or that its outcome is unknown."""
        if self.failed:
            return
        if not isinstance(error, Exception):  # Ctrl-C in the thread that executed it
            error = StoreUnavailable("the thread that executed this write was interrupted")
        # A copy: each of several threads that raise it adds a traceback.
        self.failed, self._error = True, copy.copy(error)
        self._error.__cause__ = error.__cause__

    def result(self) -> T:
        """Return what the operation has returned, or raise what it has raised."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        result: T = self._result
        return result
