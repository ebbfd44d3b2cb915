"""Reading and writing entries, each write in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from leadership_core.budget import budget
from leadership_core.errors import Conflict, Fenced, NotDone, SessionLost, StoreUnavailable
from leadership_core.store import ABSENT, ANY, Entry, Expected, Session

from .claim import LOCK_FLAG
from .client import Client, Operation, Record, TxnRefused, operation
from .errors import session_is_gone
from .holders import Holders
from .session import ConsulSession

__all__ = ["Entries", "below"]

_MOST_CLAIMS = 1000
_LOOK_SECONDS = 1.0


class Entries:
    """The store's part that is no election; safe for several threads. See `Store`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._holders = Holders(client)
        self._claims: dict[str, int] = {}  # index of the last lock that a fence was found to name

    def get(self, key: str) -> Entry | None:
        record = self._client.read(key)
        return None if record is None else self._entry(record)

    def exists(self, key: str) -> bool:
        """Whether an entry is there; the key of a lock that nobody holds is none."""
        record = self._client.read(key)
        return record is not None and (record.session is not None or record.flags != LOCK_FLAG)

    def tree(self, prefix: str) -> list[Entry]:
        return [self._entry(record) for record in self._client.read_below(below(prefix))]

    def seen(self, records: Iterable[Record]) -> list[Entry]:
        """What a watch has seen. A session that cannot be asked for has the name Consul gives it."""
        # Elections may wait for the same poll.
        with budget(_LOOK_SECONDS):
            return [self._entry(record, surely=False) for record in records]

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: tuple[str, int] | None,
    ) -> Entry:
        fences = [] if fence is None else [self._fence(*fence)]
        guards = [] if expect is ANY else [_guard(key, expect)]
        write = operation("set", key, value=value)
        if session is not None:
            holder = self._holders.holder(ConsulSession.of(session))
            write = operation("lock", key, value=value, session=holder)
        try:
            # "set" leaves an entry bound to its session, "lock" refuses one of another session, and
            # Consul leaves the index alone where nothing would change. Made anew, the entry is
            # bound to what it is to be bound to, and its index is new.
            steps = [*fences, *guards, operation("delete", key), write]
            record = self._client.txn(*steps)[-1]
        except TxnRefused as refusal:
            if session_is_gone(refusal.what):
                raise SessionLost("Consul has ended the session") from refusal
            if fences and refusal.step == 0:
                raise Fenced(f"the term is over: {refusal.what}") from refusal
            if guards and refusal.step == len(fences):
                raise Conflict(f"{key!r} is not as expected: {refusal.what}") from refusal
            # Somebody has lost a lock of that key, whose lock delay (not ours) is not over.
            raise NotDone(f"cannot write {key!r}: {refusal.what}") from refusal
        return self._entry(replace(record, value=value))

    def delete(self, key: str, expect: Expected) -> bool:
        if expect is ABSENT:
            if self._client.read(key) is not None:
                raise Conflict(f"{key!r} is there")
            return False
        # Both refuse a key that is not there, where "delete" by itself says nothing of it.
        first = operation("get", key) if expect is ANY else _guard(key, expect)
        try:
            self._client.txn(first, operation("delete", key))
        except TxnRefused as refusal:
            if "exist" in refusal.what:
                return False
            raise Conflict(f"{key!r} is not as expected: {refusal.what}") from refusal
        return True

    def delete_tree(self, prefix: str) -> int:
        # Both in one transaction, so that what is counted is what is deleted, locked or not.
        path = below(prefix)
        return len(self._client.txn(operation("get-tree", path), operation("delete-tree", path)))

    def _entry(self, record: Record, *, surely: bool = True) -> Entry:
        session = record.session
        try:
            session = self._holders.user_of(record.session)
        except StoreUnavailable:
            if surely:
                raise
        return Entry(record.key, record.value, record.modified, session)

    def _fence(self, key: str, token: int) -> Operation:
        if self._claims.get(key) != token:
            # Consul can compare the index, and not whether somebody has locked the key. But what a
            # key was at an index it is for as long as it has that index: to look once is enough.
            record = self._client.read(key)
            is_claim = record is not None and record.session is not None and record.locked > 0
            if record is None or record.modified != token or not is_claim:
                raise Fenced(f"the term with token {token} of {key!r} is over")
            if len(self._claims) >= _MOST_CLAIMS:
                self._claims.clear()
            self._claims[key] = token
        return operation("check-index", key, index=token)


def below(prefix: str) -> str:
    """How the keys below a prefix begin."""
    return f"{prefix}/" if prefix else ""


def _guard(key: str, expect: Expected) -> Operation:
    if isinstance(expect, Entry):
        return operation("check-index", key, index=expect.revision)
    return operation("check-not-exists", key)
