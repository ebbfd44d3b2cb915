"""Entries: a Lease without a holder that has a value in an annotation.

An entry and a claim of the same key are the same object, so that one replaces the other in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from leadership_core.backend import (
    ABSENT,
    ANY,
    ConfigurationError,
    Conflict,
    Entry,
    Expected,
    StoreUnavailable,
    check_expected,
)

from .client import Client
from .errors import Conflicted, Missing
from .lease import MAX_VALUE, Lease
from .names import name_of
from .parallel import in_parallel

__all__ = ["LeaseEntries", "is_below"]

_MOST_CONFLICTS = 100  # in a row; each of them is a write of another program


class LeaseEntries:
    """Reads and writes of entries; thread-safe. See `leadership_core.backend.StoreBackend`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, key: str) -> Entry | None:
        return self.entry_of(self._client.read(name_of(key)))

    def entry_of(self, lease: Lease | None) -> Entry | None:
        """The entry or claim in a Lease; a claim that was observed to be over is none."""
        if lease is None or self._client.observations.is_silent(lease):
            return None
        return lease.entry()

    def list_below(self, prefix: str) -> list[Entry]:
        found = self._client.list(managed=True).leases
        return self.entries_of(found, prefix)

    def entries_of(self, leases: Iterable[Lease], prefix: str) -> list[Entry]:
        """The entries and claims below a prefix, in the order of the keys."""
        below = (self.entry_of(lease) for lease in leases if is_below(lease.key, prefix))
        return sorted((one for one in below if one is not None), key=lambda one: one.key)

    def put(self, key: str, value: bytes, expect: Expected) -> Entry:
        if len(value) > MAX_VALUE:
            raise ConfigurationError(
                f"the value has {len(value)} bytes; kubernetes:// keeps {MAX_VALUE} at most, in an "
                "annotation of the Lease"
            )
        for _ in range(_MOST_CONFLICTS):
            lease = self._client.read(name_of(key))
            check_expected(key, self.entry_of(lease), expect)
            with suppress(Conflicted):  # nothing was written: another program was faster
                if lease is None:
                    written = self._client.create(Lease.new_entry(key, value))
                else:
                    written = self._client.update(lease.with_entry(key, value))
                return Entry(key, value, written.version)
        raise StoreUnavailable(f"{key!r} changes faster than it can be written")

    def delete(self, key: str, expect: Expected) -> bool:
        for _ in range(_MOST_CONFLICTS):
            lease = self._client.read(name_of(key))
            current = self.entry_of(lease)
            if lease is None or lease.entry() is None:
                return False  # nothing is there, or a Lease that was released
            if expect is ABSENT:
                raise Conflict(f"{key!r} exists")
            if current is not None:
                check_expected(key, current, expect)
            with suppress(Conflicted):
                try:
                    self._client.delete(lease)
                except Missing:
                    return False  # another program has deleted it
                return True
        raise StoreUnavailable(f"{key!r} changes faster than it can be deleted")

    def delete_tree(self, prefix: str) -> int:
        """Delete what is listed, and released Leases of elections, which are not counted."""
        found = [one for one in self._client.list(managed=True).leases if is_below(one.key, prefix)]
        deleted = list[str]()

        def delete(lease: Lease) -> None:
            if lease.entry() is None:
                with suppress(Conflicted, Missing):
                    self._client.delete(lease)
            elif self.delete(lease.key, ANY):
                deleted.append(lease.key)

        errors = in_parallel(delete, found)
        for error in errors:
            raise StoreUnavailable(f"some entries below {prefix!r} are left: {error}") from error
        return len(deleted)


def is_below(key: str, prefix: str) -> bool:
    """Whether a key is below a prefix; "" is above all keys."""
    return not prefix or key.startswith(f"{prefix}/")
