"""Reads and writes of entries; each write with conditions is one transaction.

See https://etcd.io/docs/v3.5/learning/api/#transaction
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from leadership_core.backend import (
    ABSENT,
    ANY,
    ConfigurationError,
    Conflict,
    Entry,
    Expected,
    Fence,
    Fenced,
    Session,
    StoreUnavailable,
    single_timeout,
)

from .claim import CandidateQueue
from .client import Client
from .errors import Compacted
from .response_checks import MAX_LIST_SIZE
from .rpc import (
    DELETE,
    RANGE,
    TXN,
    KeyValue,
    RangeResult,
    create_revision_is,
    decode_key,
    delete_request,
    encode_key,
    key_missing,
    lease_is,
    mod_revision_is,
    prefix_range,
    put_request,
    range_request,
    txn_request,
    value_is,
)

__all__ = ["KV", "entry_of", "read_entry", "read_tree"]

_LEASE = re.compile(r"[1-9a-f][0-9a-f]{0,14}|[1-7][0-9a-f]{15}")
_NUMBERS = range(1, 1 << 63)  # valid revisions
_MAX_FENCES = 100  # size of the fence -> claim key cache
_PAGE = 1000  # keys
_TRIES = 3


def entry_of(kv: KeyValue) -> Entry:
    """The entry of a key; its revision is that of its last write."""
    session = f"{kv.lease:x}" if kv.lease else None
    return Entry(decode_key(kv.key), kv.value, kv.mod_revision, session)


def read_entry(client: Client, key: str) -> tuple[Entry | None, int]:
    """Read an entry, and the revision as of which it is that; linearizable."""
    found = client.call(RANGE, range_request(encode_key(key)))
    return entry_of(found.kvs[0]) if found.kvs else None, found.revision


@single_timeout()
def read_tree(client: Client, prefix: str) -> tuple[list[Entry], int]:
    """Read all entries below a prefix as of one revision, and that revision; linearizable.

    Raises:
        StoreUnavailable: etcd gives no answer, or they are more than a list may have.
    """
    start, end = prefix_range(prefix)
    for left in range(_TRIES, 0, -1):
        page = client.call(RANGE, range_request(start, end, limit=_PAGE))
        revision, size = page.revision, _size(page)
        entries = list(map(entry_of, page.kvs))
        try:
            while page.more:
                # In pages, so that other lists need not wait for a single long answer.
                following = page.kvs[-1].key + b"\0"
                request = range_request(following, end, limit=_PAGE, revision=revision)
                page = client.call(RANGE, request)
                size += _size(page)
                if size > MAX_LIST_SIZE:
                    raise StoreUnavailable(
                        f"the entries below {prefix!r} have more than {MAX_LIST_SIZE} bytes, the "
                        "limit of a list: list a part of them"
                    )
                entries += map(entry_of, page.kvs)
        except Compacted:  # while the pages were read
            if left == 1:
                raise
        else:
            return entries, revision
    raise AssertionError("unreachable")


def _size(page: RangeResult) -> int:
    return sum(len(kv.key) + len(kv.value) for kv in page.kvs)


class KV:
    """The entries of a store; thread-safe. See `leadership_core.backend.protocols.StoreBackend`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._claim_keys: OrderedDict[Fence, bytes] = OrderedDict()

    def get(self, key: str) -> Entry | None:
        return read_entry(self._client, key)[0]

    def list(self, prefix: str) -> list[Entry]:
        return read_tree(self._client, prefix)[0]

    @single_timeout()
    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: Fence | None,
    ) -> Entry:
        lease: int | None = 0
        if session is not None and (lease := _lease_of(session.id)) is None:
            raise ConfigurationError(f"the session {session.id!r} is not one of this store's")
        guard = () if fence is None else self._guard(fence)
        answer = self._client.call(
            TXN,
            txn_request(
                when=[*guard, *_as_expected(key, expect)],
                then=[put_request(encode_key(key), value, lease or 0)],
                otherwise=[range_request(one.key) for one in guard[:1]],
            ),
        )
        if answer.succeeded:
            return Entry(key, value, answer.revision, None if session is None else session.id)
        if fence is not None:
            found = answer.ranges[0].kvs
            if not found or found[0].mod_revision != fence.token:
                raise _fenced(fence)
        raise Conflict(f"{key!r} is not as expected")

    def delete(self, key: str, expect: Expected) -> bool:
        full = encode_key(key)
        if expect is ANY:
            return bool(self._client.call(DELETE, delete_request(full)).deleted)
        answer = self._client.call(
            TXN,
            txn_request(
                when=_as_expected(key, expect),
                then=[] if expect is ABSENT else [delete_request(full)],
                otherwise=[range_request(full, keys_only=True)],
            ),
            repeatable=expect is ABSENT,
        )
        if answer.succeeded:
            return expect is not ABSENT
        if not answer.ranges[0].kvs:
            return False
        raise Conflict(f"{key!r} is not as expected")

    def delete_tree(self, prefix: str) -> int:
        return self._client.call(DELETE, delete_request(*prefix_range(prefix))).deleted

    def _guard(self, fence: Fence) -> Sequence[Any]:
        """Comparisons that hold as long as the claim of a fence exists as it was created."""
        claim_key = self._claim_keys.get(fence)
        if claim_key is None:
            if fence.token not in _NUMBERS:
                raise _fenced(fence)
            first, _ = CandidateQueue(self._client, fence.key).first(fence.token)
            if first is None or first.create_revision != fence.token:
                raise _fenced(fence)
            # The first claim stays the first as long as it exists: others come after it.
            self._claim_keys[fence] = claim_key = first.key
            while len(self._claim_keys) > _MAX_FENCES:
                self._claim_keys.popitem(last=False)
        return [mod_revision_is(claim_key, fence.token), create_revision_is(claim_key, fence.token)]


def _as_expected(key: str, expect: Expected) -> list[Any]:
    full = encode_key(key)
    if expect is ANY:
        return []
    if not isinstance(expect, Entry):
        return [key_missing(full)]
    lease = 0 if expect.session is None else _lease_of(expect.session)
    if lease is None:
        raise Conflict(
            f"{key!r} is not bound to session {expect.session!r}, which is not a session of etcd"
        )
    if expect.revision not in _NUMBERS:
        raise Conflict(f"{key!r} cannot have the revision {expect.revision} on etcd")
    # The value and the lease, too: a store that was replaced counts its revisions from the start.
    return [
        mod_revision_is(full, expect.revision),
        value_is(full, expect.value),
        lease_is(full, lease),
    ]


def _lease_of(session_id: str) -> int | None:
    """The lease of a session; None if the id cannot be one of etcd's."""
    return int(session_id, 16) if _LEASE.fullmatch(session_id) else None


def _fenced(fence: Fence) -> Fenced:
    return Fenced(f"no claim with token {fence.token} leads {fence.key!r}: that term is over")
