"""Entries, as etcd has them."""

from __future__ import annotations

import re
from typing import Any

from leadership_core.budget import shared_budget
from leadership_core.errors import StoreUnavailable
from leadership_core.store import Entry

from .answers import LONGEST_LIST
from .client import Client
from .errors import Compacted
from .messages import below, read, text
from .methods import RANGE

__all__ = ["entry_of", "lease_named", "lease_of", "read_below"]

_ID = re.compile(r"[1-9a-f][0-9a-f]{0,14}|[1-7][0-9a-f]{15}")
_PAGE = 1000
_TRIES = 3


def entry_of(kv: Any) -> Entry:
    """An entry of ours; its revision is that of its last write."""
    return Entry(text(kv.key), kv.value, kv.mod_revision, f"{kv.lease:x}" if kv.lease else None)


def lease_of(entry: Entry) -> int | None:
    """The lease that an entry is bound to, 0 for none; None if that cannot be one."""
    return 0 if entry.session is None else lease_named(entry.session)


def lease_named(session: str) -> int | None:
    """The lease with that id of a session; None if that cannot be one."""
    return int(session, 16) if _ID.fullmatch(session) else None


@shared_budget()
def read_below(client: Client, prefix: str) -> tuple[list[Any], int]:
    """Read all below a prefix as it was at one revision, which is returned, too; linearizable."""
    for left in range(_TRIES, 0, -1):
        try:
            return _read_below(client, prefix)
        except Compacted:
            if left == 1:
                raise
    raise AssertionError("unreachable")


def _read_below(client: Client, prefix: str) -> tuple[list[Any], int]:
    start, end = below(prefix)
    page = client.call(RANGE, read(start, end, limit=_PAGE))
    revision = page.header.revision
    found = list(page.kvs)
    left = LONGEST_LIST - _size(page)
    while page.more:
        # In pages, so that no single answer takes longer than the others can wait.
        page = client.call(
            RANGE, read(page.kvs[-1].key + b"\0", end, limit=_PAGE, revision=revision)
        )
        left -= _size(page)
        if left < 0:
            raise StoreUnavailable(
                f"what is below {prefix!r} has more than {LONGEST_LIST} bytes, which are the most that a "
                "list may have: list a part of it"
            )
        found += page.kvs
    return found, revision


def _size(page: Any) -> int:
    return sum(len(kv.key) + len(kv.value) for kv in page.kvs)
