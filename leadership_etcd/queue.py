"""Who stands in the queue of an election: reads that leave out what is not a claim."""

from __future__ import annotations

import logging
from typing import Any, Literal

from .claim import is_claim, names_claim
from .client import Client
from .messages import below, encode, read, text
from .methods import RANGE

__all__ = ["Queue"]

_LEAST_DIGITS = 14  # of the id of a lease that etcd has chosen

log = logging.getLogger(__name__)

_PAGE = 4  # claims stand first, nearly always


class Queue:
    """The claims of one election, in the order in which they were made.

    A read takes a few keys, and more only where those are no claims. It reads the values, too: a
    claim is known by its lease, which etcd leaves out of what it answers with `keys_only` (seen
    with 3.7.3).
    """

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key
        self._range = below(key)
        self._reported: set[bytes] = set()  # keys without a lease

    def first_page(self) -> Any:
        """The read that is to tell who is first, for use in a transaction."""
        return read(*self._range, order="first", limit=_PAGE)

    def page_up_to(self, token: int) -> Any:
        """The read that is to tell whether a claim is first."""
        return read(*self._range, order="first", limit=_PAGE, most=token)

    def page_ahead(self, token: int) -> Any:
        """The read that is to tell who is next before a claim, for use in a transaction."""
        return read(*self._range, order="last", limit=_PAGE, most=token - 1)

    def first(self) -> tuple[Any | None, int]:
        """The first claim, and the revision as of which it is that; linearizable."""
        page = self._client.call(RANGE, self.first_page())
        revision = page.header.revision
        return self.first_of(page, revision), revision

    def first_of(self, page: Any, revision: int) -> Any | None:
        """The first claim, from an answer to `first_page` of that revision."""
        return self._search(page, revision, order="first")

    def ahead(self, page: Any, token: int, revision: int) -> Any | None:
        """The claim next before that token's, from an answer to `page_ahead` of that revision."""
        return self._search(page, revision, order="last", most=token - 1)

    def _search(
        self, page: Any, revision: int, *, order: Literal["first", "last"], most: int = 0
    ) -> Any | None:
        limit = _PAGE
        while (found := self.first_in(page)) is None and page.more:
            # From the start again: of keys that one transaction has made, a page may end with any.
            limit *= 8
            request = read(*self._range, order=order, limit=limit, revision=revision, most=most)
            page = self._client.call(RANGE, request)
        return found

    def first_up_to(self, token: int) -> Any | None:
        """The first claim, if its token is not larger; linearizable."""
        page = self._client.call(RANGE, self.page_up_to(token))
        return self._search(page, page.header.revision, order="first", most=token)

    def first_in(self, page: Any) -> Any | None:
        """The first claim of an answer, if there is one in it."""
        for kv in page.kvs:
            if is_claim(self._key, kv):
                return kv
            if not kv.lease and self._has_name_of_lease(kv.key):
                self._report_permanent(kv.key)
        return None

    def _has_name_of_lease(self, key: bytes) -> bool:
        # A short name such as "1" is more likely that of an entry.
        digits = len(key) - len(encode(self._key)) - 1
        return digits >= _LEAST_DIGITS and names_claim(self._key, key)

    def _report_permanent(self, key: bytes) -> None:
        """Log that a key looks like a claim and is bound to no lease, once for each key."""
        if key in self._reported:
            return
        self._reported.add(key)
        log.warning(
            "the key %s has the name of a claim for %r and no lease: it is passed over here, but "
            "etcdctl elect and etcd's Go client wait until it is deleted; delete it if it was left behind",
            text(key),
            self._key,
        )
