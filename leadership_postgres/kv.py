"""Entries in the table of a PostgreSQL store; each write is one transaction."""

from __future__ import annotations

from collections.abc import Callable

from leadership_core.backend import (
    Conflict,
    Entry,
    Expected,
    Fence,
    Fenced,
    Session,
    SessionLost,
    StoreUnavailable,
    single_timeout,
)

from .client import Client, KeyValue, Outcome
from .session import PostgresSession

__all__ = ["KVEntries"]

_MOST_TRIES = 20  # each ends one session whose time has passed


class KVEntries:
    """Reads and writes of entries; thread-safe. See `leadership_core.backend.StoreBackend`.

    An entry whose session has ended by the server's clock is deleted by whatever finds it, in a
    transaction that a renewal of the session cannot overtake: what a read has left out never comes back.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @single_timeout()
    def get(self, key: str) -> Entry | None:
        def read() -> list[KeyValue]:
            found = self._client.read(key)
            return [] if found is None else [found]

        found = self.alive(read)
        return found[0].entry if found else None

    @single_timeout()
    def list_below(self, prefix: str) -> list[Entry]:
        return [one.entry for one in self.alive(lambda: self._client.read_below(prefix))]

    def alive(self, read: Callable[[], list[KeyValue]]) -> list[KeyValue]:
        """Read, and end the sessions whose time has passed until none of them is in the answer."""
        for _ in range(_MOST_TRIES):
            found = read()
            due = {one.entry.session for one in found if one.remaining <= 0}
            if not due:
                return found
            for session in sorted(filter(None, due)):
                self._client.expire(session)
        raise StoreUnavailable("sessions end faster than their entries can be read")

    @single_timeout()
    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: Fence | None,
    ) -> Entry:
        holder = None if session is None else PostgresSession.of(session).id
        found = self._settled(lambda: self._client.put(key, value, expect, holder, fence))
        if found.name == "done":
            return Entry(key, bytes(value), int(found.detail), holder)
        if found.name == "lost":
            raise SessionLost("the session has ended")
        if found.name == "fenced":
            assert fence is not None
            raise Fenced(f"the term with token {fence.token} of {fence.key!r} is over")
        raise _conflict(key, found)

    @single_timeout()
    def delete(self, key: str, expect: Expected) -> bool:
        found = self._settled(lambda: self._client.delete(key, expect))
        if found.name == "conflict":
            raise _conflict(key, found)
        return found.name == "done"

    def delete_tree(self, prefix: str) -> int:
        return self._client.delete_below(prefix)

    def _settled(self, write: Callable[[], Outcome]) -> Outcome:
        for _ in range(_MOST_TRIES):
            found = write()
            if found.name != "due":
                return found
            self._client.expire(found.detail)  # nothing was written yet
        raise StoreUnavailable("sessions end faster than their entries can be replaced")


def _conflict(key: str, found: Outcome) -> Conflict:
    has = f"has revision {found.detail}" if found.detail else "does not exist"
    return Conflict(f"{key!r} {has}, which is not as expected")
