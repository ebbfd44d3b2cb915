"""Writes with conditions, each one transaction."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from leadership_core.budget import shared_budget
from leadership_core.errors import ConfigurationError, Conflict, Fenced
from leadership_core.store import ABSENT, ANY, Entry, Expected, Session

from .client import Client
from .entries import lease_named, lease_of
from .messages import absent, bound, created, delete, encode, modified, put, read, txn, valued
from .methods import DELETE, TXN
from .queue import Queue

__all__ = ["Writes"]

_NUMBERS = range(1, 1 << 63)  # that etcd gives its leases and revisions
_FENCES = 100  # of which it is remembered where their claims are


class Writes:
    """The writes of one store; safe for several threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._claims: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    @shared_budget()
    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: tuple[str, int] | None,
    ) -> Entry:
        """See `leadership_core.store.Store.put`."""
        full = encode(key)
        lease = 0 if session is None else _lease_of(session)
        guard = [] if fence is None else self._guard(fence)
        answer = self._client.call(
            TXN,
            txn(
                when=[*guard, *_as_expected(key, expect)],
                then=[put(full, value, lease)],
                otherwise=[read(one.key) for one in guard[:1]],
            ),
        )
        if answer.succeeded:
            session_id = None if session is None else session.id
            return Entry(key, value, answer.header.revision, session_id)
        if fence is not None:
            found = answer.responses[0].response_range.kvs
            if not found or found[0].mod_revision != fence[1]:
                raise _fenced(fence)
        raise Conflict(f"{key!r} is not as expected")

    def delete(self, key: str, expect: Expected) -> bool:
        """See `leadership_core.store.Store.delete`."""
        full = encode(key)
        if expect is ANY:
            return bool(self._client.call(DELETE, delete(full)).deleted)
        then = [] if expect is ABSENT else [delete(full)]
        answer = self._client.call(
            TXN,
            txn(
                when=_as_expected(key, expect),
                then=then,
                otherwise=[read(full, keys_only=True)],
            ),
            repeatable=expect is ABSENT,
        )
        if answer.succeeded:
            return expect is not ABSENT
        if not answer.responses[0].response_range.kvs:
            return False
        raise Conflict(f"{key!r} is not as expected")

    def _guard(self, fence: tuple[str, int]) -> list[Any]:
        """What holds as long as the claim of a fence stands, as it was made."""
        claim = self._claims.get(fence)
        if claim is None:
            key, token = fence
            if token not in _NUMBERS:
                raise _fenced(fence)
            found = Queue(self._client, key).first_up_to(token)
            if found is None or found.create_revision != token:
                raise _fenced(fence)
            # Who is first stays first, as long as he stands: others can come in only behind him.
            self._claims[fence] = claim = bytes(found.key)
            while len(self._claims) > _FENCES:
                self._claims.popitem(last=False)
        return [modified(claim, fence[1]), created(claim, fence[1])]


def _as_expected(key: str, expect: Expected) -> list[Any]:
    full = encode(key)
    if expect is ANY:
        return []
    if not isinstance(expect, Entry):
        return [absent(full)]
    lease = lease_of(expect)
    if lease is None:
        raise Conflict(
            f"{key!r} is not bound to session {expect.session!r}: that is none of etcd's"
        )
    if expect.revision not in _NUMBERS:
        raise Conflict(f"{key!r} has no revision {expect.revision}: etcd has none like that")
    # The value and the lease, too: a store that was replaced counts its revisions anew.
    return [modified(full, expect.revision), valued(full, expect.value), bound(full, lease)]


def _lease_of(session: Session) -> int:
    lease = lease_named(session.id)
    if lease is None:
        raise ConfigurationError(f"the session {session.id!r} is not one of this store's")
    return lease


def _fenced(fence: tuple[str, int]) -> Fenced:
    return Fenced(f"no claim with token {fence[1]} leads {fence[0]!r}: that term is over")
