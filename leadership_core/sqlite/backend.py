"""The store and its sessions, over the steps and the watches of one database."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Set as AbstractSet
from typing import Final

from ..clock import Clock
from ..default_election import DefaultElection
from ..errors import ConfigurationError, SessionLost
from ..fork import inert_in_child
from ..guards import check_expected, check_fence
from ..store import ANY, Capability, Change, Election, Entry, Expected, Session
from ..subscription import Subscription
from .database import Database, File
from .step import key_span, tree_span
from .steps import FileReplaced, Steps
from .watches import GRANULARITY, Watches

__all__ = ["SqliteSession", "SqliteStore"]

_REPLACED = "the database was replaced, and the session with it"


@inert_in_child("renew", "close")
class SqliteSession:
    """A row that ends by the machine's clock; see `leadership_core.store.Session`."""

    def __init__(self, steps: Steps, file: File, name: str, ttl: float) -> None:
        self.id: Final = name
        self.ttl: Final = ttl
        self.file: Final = file
        self._steps: Final = steps
        self._ended = False

    def check(self, file: File) -> None:
        """Raise `SessionLost` if it is not a session of that file."""
        if file.identity != self.file.identity:
            raise SessionLost(_REPLACED)

    def renew(self) -> float:
        try:
            renewed = self._steps.renew(self.id, self.file)
        except FileReplaced as error:
            raise SessionLost(_REPLACED) from error
        if not renewed:
            raise SessionLost(f"the session {self.id} is gone")
        return self.ttl

    def close(self) -> None:
        if self._ended:
            return
        with self._steps.write(urgent=True) as (file, step):
            if file.identity == self.file.identity:
                step.end_session(self.id)
        self._ended = True


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class SqliteStore:
    """A store in a file of this machine; see `leadership_core.store.Store`.

    The time that a call may take bounds its waiting for locks. It does not bound the disk: a
    write that the kernel does not finish holds its caller.

    Args:
        database: where it is.
        now: seconds, the same for all processes of the machine.
        boot: what is different after every boot of the machine.
    """

    capabilities: Final[AbstractSet[Capability]] = frozenset(Capability)
    prefix: Final = ""
    least_margin: Final = 0.0

    def __init__(self, database: Database, now: Clock, boot: str) -> None:
        self._database: Final = database
        self._steps: Final = Steps(database, now, boot)
        self._watches: Final = Watches(database, self._steps)
        self._steps.on_commit = self._watches.wake

    def expires_within(self, ttl: float) -> float:
        return ttl + GRANULARITY

    def get(self, key: str) -> Entry | None:
        found = self._steps.read(key_span(key))
        return found[0] if found else None

    def exists(self, key: str) -> bool:
        return self.get(key) is not None

    def list(self, prefix: str) -> list[Entry]:
        return self._steps.read(tree_span(prefix))

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        with self._steps.write() as (file, step):
            if fence is not None:
                check_fence(fence, step.entry(fence[0]))
            if expect is not ANY:
                check_expected(key, step.entry(key), expect)
            if session is not None:
                if isinstance(session, SqliteSession):
                    session.check(file)
                step.check_session(session.id)
            return step.put(key, bytes(value), None if session is None else session.id)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        with self._steps.write() as (_, step):
            current = step.entry(key)
            if current is None:
                return False
            check_expected(key, current, expect)
            step.delete(key)
            return True

    def delete_tree(self, prefix: str) -> int:
        with self._steps.write() as (_, step):
            return step.delete_all(tree_span(prefix))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Subscription:
        return self._watches.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> SqliteSession:
        if not (math.isfinite(ttl) and ttl > 0):
            raise ConfigurationError(f"a ttl is a number of seconds above 0, not {ttl!r}")
        name = uuid.uuid4().hex
        with self._steps.write() as (file, step):
            step.open_session(name, float(ttl))
        return SqliteSession(self._steps, file, name, float(ttl))

    def election(self, key: str) -> Election:
        return DefaultElection(self, key)

    def close(self) -> None:
        if not self._database.is_forked:
            self._watches.close()
            self._database.close()

    def after_fork_in_child(self) -> None:
        """Make it inert; it has been told already, unless nothing of it is open."""
        self._database.end_in_child()
