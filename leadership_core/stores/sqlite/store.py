"""The SQLite store and its sessions, over the transactions and watches of one database."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Set as AbstractSet
from typing import Final

from ...backend.clock import Clock
from ...backend.default_election import DefaultElection
from ...backend.entries import ANY, Change, Entry, Expected
from ...backend.fence import Fence
from ...backend.fork import inert_in_child
from ...backend.protocols import Capability, Election, Session
from ...backend.validation import check_expected, check_fence
from ...backend.watches import WatchDelivery
from ...errors import ConfigurationError, SessionLost
from .database import Database, File
from .executor import FileReplaced, TransactionExecutor
from .transactions import Transaction, key_span, tree_span
from .watch import POLL_INTERVAL, Watches

__all__ = ["SqliteSession", "SqliteStore"]

_REPLACED = "the database was replaced, and the session with it"


@inert_in_child("renew", "close")
class SqliteSession:
    """A row of the sessions table; see `leadership_core.backend.protocols.Session`."""

    def __init__(self, executor: TransactionExecutor, file: File, name: str, ttl: float) -> None:
        self.id: Final = name
        self.ttl: Final = ttl
        self.file: Final = file
        self._executor: Final = executor
        self._ended = False

    def check(self, file: File) -> None:
        """Raise `SessionLost` if the session was opened in another file."""
        if file.identity != self.file.identity:
            raise SessionLost(_REPLACED)

    def renew(self) -> float:
        try:
            renewed = self._executor.renew(self.id, self.file)
        except FileReplaced as error:
            raise SessionLost(_REPLACED) from error
        if not renewed:
            raise SessionLost(f"the session {self.id} is gone")
        return self.ttl

    def close(self) -> None:
        if self._ended:
            return
        with self._executor.write(urgent=True) as (file, transaction):
            if file.identity == self.file.identity:
                transaction.end_session(self.id)
        self._ended = True


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class SqliteStore:
    """A store in a file of this machine; see `leadership_core.backend.protocols.StoreBackend`.

    The timeout of a call bounds how long it waits for locks. It does not bound the disk: a write that
    the kernel does not finish blocks its caller.

    Args:
        database: the database file.
        now: returns seconds, the same for all processes of the machine.
        boot: an id that differs after every boot of the machine.

    Attributes:
        database: the connections to the file.
        executor: executes the transactions.
    """

    capabilities: Final[AbstractSet[Capability]] = frozenset(Capability)
    prefix: Final = ""
    least_margin: Final = 0.0

    def __init__(self, database: Database, now: Clock, boot: str) -> None:
        self.database: Final = database
        self.executor: Final = TransactionExecutor(database, now, boot)
        self._watches: Final = Watches(database, self.executor)
        self.executor.on_commit = self._watches.wake

    def expires_within(self, ttl: float) -> float:
        return ttl + POLL_INTERVAL

    def get(self, key: str) -> Entry | None:
        found = self.executor.read(key_span(key))
        return found[0] if found else None

    def exists(self, key: str) -> bool:
        return self.get(key) is not None

    def list(self, prefix: str) -> list[Entry]:
        return self.executor.read(tree_span(prefix))

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        def write(file: File, transaction: Transaction) -> Entry:
            if fence is not None:
                check_fence(fence, transaction.entry(fence.key))
            if expect is not ANY:
                check_expected(key, transaction.entry(key), expect)
            if session is not None:
                if isinstance(session, SqliteSession):
                    session.check(file)
                transaction.check_session(session.id)
            return transaction.put(key, content, None if session is None else session.id)

        content = bytes(value)
        return self.executor.execute(write)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        def write(_: File, transaction: Transaction) -> bool:
            current = transaction.entry(key)
            if current is None:
                return False
            check_expected(key, current, expect)
            transaction.delete(key)
            return True

        # A bound entry ends with the boot anyway: a power cut may undo its deletion.
        is_bound = isinstance(expect, Entry) and expect.session is not None
        return self.executor.execute(write, durable=not is_bound)

    def delete_tree(self, prefix: str) -> int:
        with self.executor.write() as (_, transaction):
            return transaction.delete_all(tree_span(prefix))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> WatchDelivery[Change]:
        return self._watches.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> SqliteSession:
        if not (math.isfinite(ttl) and ttl > 0):
            raise ConfigurationError(f"ttl must be a number of seconds above 0, not {ttl!r}")
        name = uuid.uuid4().hex
        with self.executor.write() as (file, transaction):
            transaction.open_session(name, float(ttl))
        return SqliteSession(self.executor, file, name, float(ttl))

    def election(self, key: str) -> Election:
        return DefaultElection(self, key)

    def close(self) -> None:
        if not self.database.is_forked:
            self._watches.close()
            self.database.close()

    def after_fork_in_child(self) -> None:
        """Make it inert; the hook of `database` has done so already, in any order."""
        self.database.end_in_child()
