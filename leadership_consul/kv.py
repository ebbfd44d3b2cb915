"""Entries in Consul's key-value store; each write is one transaction.

See https://developer.hashicorp.com/consul/api-docs/txn.
"""

from __future__ import annotations

from collections.abc import Iterable

from leadership_core.backend import (
    ABSENT,
    ANY,
    Conflict,
    Entry,
    Expected,
    Fence,
    Fenced,
    NotApplied,
    Session,
    SessionLost,
    StoreUnavailable,
    call_timeout,
)

from .claim import LOCK_FLAG
from .client import Client, KeyValue, Operation, TxnConflict, operation
from .errors import session_is_gone
from .session import CompanionSessions, ConsulSession

__all__ = ["KVEntries", "path_below"]

_MAX_CLAIMS = 1000  # size of the cache of fences
_SESSION_TIMEOUT = 1.0  # seconds, to read the names of sessions for a watch


class KVEntries:
    """Reads and writes of entries; thread-safe. See `leadership_core.backend.StoreBackend`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._companions = CompanionSessions(client)
        self._claims: dict[str, int] = {}  # election keys, and the token that was found to lead

    def get(self, key: str) -> Entry | None:
        pair = self._client.read(key)
        return None if pair is None else self._entry(pair)

    def exists(self, key: str) -> bool:
        """Whether there is an entry; the unlocked key of a lock is none."""
        pair = self._client.read(key)
        return pair is not None and (pair.session is not None or pair.flags != LOCK_FLAG)

    def list_below(self, prefix: str) -> list[Entry]:
        return [self._entry(pair) for pair in self._client.read_below(path_below(prefix))]

    def seen(self, pairs: Iterable[KeyValue]) -> list[Entry]:
        """The entries that a watch has seen.

        An entry whose session cannot be read in time has the id of the companion session.
        """
        # Elections may wait for the same long poll.
        with call_timeout(_SESSION_TIMEOUT):
            return [self._entry(pair, strict=False) for pair in pairs]

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: Fence | None,
    ) -> Entry:
        fences = [] if fence is None else [self._fence(fence.key, fence.token)]
        guards = [] if expect is ANY else [_guard(key, expect)]
        write = operation("set", key, value=value)
        if session is not None:
            companion = self._companions.companion_id(ConsulSession.of(session))
            write = operation("lock", key, value=value, session=companion)
        try:
            # The key is deleted first: "set" keeps the session of a locked key, "lock" refuses the
            # key of another session, and Consul keeps the index where a write changes nothing.
            # A key that is created again is bound to the given session only, and has a new index.
            steps = [*fences, *guards, operation("delete", key), write]
            pair = self._client.txn(*steps)[-1]
        except TxnConflict as conflict:
            if session_is_gone(conflict.reason):
                raise SessionLost("Consul has ended the session") from conflict
            if fences and conflict.step == 0:
                raise Fenced(f"the term is over: {conflict.reason}") from conflict
            if guards and conflict.step == len(fences):
                raise Conflict(f"{key!r} is not as expected: {conflict.reason}") from conflict
            # Another client's lock of that key was invalidated, and its lock delay is not over.
            raise NotApplied(f"cannot write {key!r}: {conflict.reason}") from conflict
        return self._entry(pair._replace(value=value))

    def delete(self, key: str, expect: Expected) -> bool:
        if expect is ABSENT:
            if self._client.read(key) is not None:
                raise Conflict(f"{key!r} exists")
            return False
        # Both refuse a missing key; "delete" by itself does not.
        first = operation("get", key) if expect is ANY else _guard(key, expect)
        try:
            self._client.txn(first, operation("delete", key))
        except TxnConflict as conflict:
            if "exist" in conflict.reason:
                return False
            raise Conflict(f"{key!r} is not as expected: {conflict.reason}") from conflict
        return True

    def delete_tree(self, prefix: str) -> int:
        # Both in one transaction, so that exactly what is deleted is counted, locked or not.
        path = path_below(prefix)
        return len(self._client.txn(operation("get-tree", path), operation("delete-tree", path)))

    def _entry(self, pair: KeyValue, *, strict: bool = True) -> Entry:
        session = pair.session
        try:
            session = self._companions.session_id(pair.session)
        except StoreUnavailable:
            if strict:
                raise
        return Entry(pair.key, pair.value, pair.modify_index, session)

    def _fence(self, key: str, token: int) -> Operation:
        """The operation that checks that a term has not ended; raises `Fenced` if it has."""
        if self._claims.get(key) != token:
            # A transaction can compare the index of the key, and not whether a claim has locked
            # it. But with the same index it is the same state, so one read is enough.
            pair = self._client.read(key)
            is_claim = pair is not None and pair.session is not None and pair.lock_index > 0
            if pair is None or pair.modify_index != token or not is_claim:
                raise Fenced(f"the term with token {token} of {key!r} is over")
            if len(self._claims) >= _MAX_CLAIMS:
                self._claims.clear()
            self._claims[key] = token
        return operation("check-index", key, index=token)


def path_below(prefix: str) -> str:
    """How the keys below a prefix begin."""
    return f"{prefix}/" if prefix else ""


def _guard(key: str, expect: Expected) -> Operation:
    if isinstance(expect, Entry):
        return operation("check-index", key, index=expect.revision)
    return operation("check-not-exists", key)
