"""A claim in an election on etcd, and the queue of claims.

The recipe is that of etcd's Go client: https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency#Election
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

from leadership_core.backend import Claim, one_line

from .claim_watch import ClaimWatch
from .client import Client
from .rpc import RANGE, KeyValue, RangeResult, decode_key, encode_key, prefix_range, range_request

__all__ = ["CandidateQueue", "EtcdClaim", "has_claim_name", "is_claim"]

log: logging.Logger = logging.getLogger(__name__)

_LEASE = re.compile(rb"[1-9a-f][0-9a-f]{0,15}")
_LEAST_DIGITS = 14  # of the id of a lease that etcd has chosen
_NUMBERED = re.compile(rb"[^/]*?\d{10,}")
"""The names of keys that recipes number by a sequence or by the time."""
_MOST_WARNINGS = 20  # of one election: other candidates may come and go without end
_MAX_NAME = 300  # characters in a log message
_PAGE = 4  # keys; claims come first, nearly always


@dataclass(eq=False, slots=True, weakref_slot=True)
class EtcdClaim(Claim):
    """A claim; its token is the create revision of its key, also while it waits.

    Attributes:
        watch: of the claim, once it has been asked for.
        was_leading: a `status` was `Leading`; a claim leads as long as its key is intact.
        withdrawn: it is confirmed that its key is gone.
    """

    watch: ClaimWatch | None = None
    was_leading: bool = False
    withdrawn: bool = False

    @property
    def lease(self) -> int:
        return int(self.session.id, 16)

    @property
    def claim_key(self) -> bytes:
        """The key of the claim: that of the election, and the lease."""
        return encode_key(f"{self.key}/{self.session.id}")

    @classmethod
    def of(cls, claim: Claim) -> EtcdClaim:
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of an etcd election: {claim!r}")
        return claim

    def is_intact(self, kv: KeyValue) -> bool:
        """Whether this is the claim's key as it was created, with no later write."""
        as_created = (self.token, self.token, self.lease)
        return (kv.create_revision, kv.mod_revision, kv.lease) == as_created


def is_claim(key: str, kv: KeyValue) -> bool:
    """Whether a key below an election's key is a candidate's claim.

    It is named after the lease to which it is bound, as etcd's own clients do it. A key with another
    name belongs to something else, such as an election below this one; a key without a lease was
    written by hand and would stay forever.
    """
    name = kv.key[len(encode_key(key)) + 1 :]
    return bool(kv.lease and name == b"%x" % kv.lease)


def has_claim_name(key: str, claim_key: bytes) -> bool:
    """Whether a key below an election's key may be a claim, by its name alone.

    For where the lease is not known, and the key is read before it counts.
    """
    return _LEASE.fullmatch(claim_key[len(encode_key(key)) + 1 :]) is not None


class CandidateQueue:
    """The claims of one election in the order of their creation; thread-safe.

    A read fetches a few keys, and more only where those are not claims. It fetches the values, too:
    a claim is recognised by its lease, which etcd omits from answers with `keys_only` (seen with
    3.7.3). The reads are linearizable, see https://etcd.io/docs/v3.5/learning/api_guarantees/
    """

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key
        self._range = prefix_range(key)
        self._reported: tuple[bytes, ...] = ()  # keys that look like claims

    def first_request(self, up_to: int = 0) -> Any:
        """The read that finds the first claim, also for use in a transaction.

        Args:
            up_to: only claims whose token is not larger; 0 for all.
        """
        return range_request(*self._range, order="first", limit=_PAGE, max_create_revision=up_to)

    def predecessor_request(self, token: int) -> Any:
        """The read that finds the claim before that token's, for use in a transaction."""
        newest = token - 1
        return range_request(*self._range, order="last", limit=_PAGE, max_create_revision=newest)

    def first(self, up_to: int = 0) -> tuple[KeyValue | None, int]:
        """Read the first claim, and the revision as of which it is the first."""
        page = self._client.call(RANGE, self.first_request(up_to))
        return self._search(page, order="first", up_to=up_to), page.revision

    def first_of(self, page: RangeResult) -> KeyValue | None:
        """The first claim, from the answer to `first_request()`; reads more if it has to."""
        return self._search(page, order="first")

    def predecessors_of(self, page: RangeResult, token: int) -> list[KeyValue]:
        """The claims before that token's, from the answer to `predecessor_request`, the nearest first.

        The nearest is among them if there is one; it reads more if it has to.
        """
        found = [kv for kv in page.kvs if is_claim(self._key, kv)]
        nearest = self._search(page, order="last", up_to=token - 1)  # names foreign keys, too
        return found or ([] if nearest is None else [nearest])

    def first_in(self, page: RangeResult) -> KeyValue | None:
        """The first claim of an answer, if it contains one; reads nothing.

        Logs a warning, once for each key, of keys that look like claims and are none.
        """
        found = None
        for kv in page.kvs:
            if not is_claim(self._key, kv):
                self._report_foreign(kv)
            elif found is None:
                found = kv
        return found

    def _report_foreign(self, kv: KeyValue) -> None:
        name = kv.key[len(encode_key(self._key)) + 1 :]
        # A short name such as "1" is more likely that of an entry.
        named_like_claim = len(name) >= _LEAST_DIGITS and has_claim_name(self._key, kv.key)
        numbered = kv.lease and _NUMBERED.fullmatch(name)
        known = kv.key in self._reported or len(self._reported) == _MOST_WARNINGS
        if known or not (named_like_claim or numbered):
            return
        self._reported += (kv.key,)
        if kv.lease:
            log.warning(
                "the key %s below that of the election %r is bound to a lease and looks like a candidate's, "
                "but is not named after its lease: it is ignored here, as by etcdctl elect and etcd's Go "
                "client; if it belongs to another program's election, there may be a second leader: "
                "use another key",
                one_line(decode_key(kv.key), _MAX_NAME),
                self._key,
            )
        else:
            log.warning(
                "the key %s has the name of a claim for %r and no lease: it is ignored here, "
                "but etcdctl elect and etcd's Go client wait until it is deleted; delete it if "
                "it is a leftover",
                one_line(decode_key(kv.key), _MAX_NAME),
                self._key,
            )

    def _search(
        self, page: RangeResult, *, order: Literal["first", "last"], up_to: int = 0
    ) -> KeyValue | None:
        limit, revision = _PAGE, page.revision
        while (found := self.first_in(page)) is None and page.more:
            # From the start again: of keys that one transaction has made, a page may end with any.
            limit *= 8
            request = range_request(
                *self._range,
                order=order,
                limit=limit,
                revision=revision,
                max_create_revision=up_to,
            )
            page = self._client.call(RANGE, request)
        return found
