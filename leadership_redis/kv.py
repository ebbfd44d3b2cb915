"""Entries: reads and writes, each of which is one execution of the script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from leadership_core.backend import (
    ABSENT,
    Conflict,
    Entry,
    Expected,
    Fence,
    Fenced,
    Session,
    SessionLost,
)

from .claim import decoded, encoded
from .client import Client
from .errors import unknown_answer
from .session import RedisSession

__all__ = ["Found", "KVEntries"]


class Found(NamedTuple):
    """What was read at a key or below it.

    Attributes:
        entries: in the order of their keys.
        expiry: seconds after which an entry of a session may have ended; None if none can end.
    """

    entries: list[Entry]
    expiry: float | None


class KVEntries:
    """Reads and writes of entries; thread-safe. See `leadership_core.backend.StoreBackend`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, key: str) -> Entry | None:
        entries = self.read([key])[0].entries
        return entries[0] if entries else None

    def list_below(self, prefix: str) -> list[Entry]:
        return self.read([f"{prefix}/"])[0].entries

    def read(self, names: Sequence[str]) -> list[Found]:
        """Read keys, and with a slash at the end all that is below a key, at one moment."""
        answer = self._client.call("read", *names)
        if not isinstance(answer, list) or len(answer) != len(names):
            raise unknown_answer("Redis", answer)
        return [_found(one) for one in answer]

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: Session | None,
        fence: Fence | None,
    ) -> Entry:
        session_id = None if session is None else RedisSession.of(session).id
        arguments: list[str | bytes] = [key, encoded(expect), value, session_id or "-"]
        if fence is not None:
            arguments += [fence.key, str(fence.token)]
        match self._client.call("put", *arguments):
            case [b"ok", bytes(revision)]:
                return Entry(key, value, int(revision), session_id)
            case [b"conflict", bytes(old)]:
                raise Conflict(_conflict(key, old, expect))
            case [b"fenced"]:
                assert fence is not None
                raise Fenced(f"the term with token {fence.token} of {fence.key!r} is over")
            case [b"session"]:
                raise SessionLost(f"the session {session_id} has ended")
            case answer:
                raise unknown_answer("Redis", answer)

    def delete(self, key: str, expect: Expected) -> bool:
        if expect is ABSENT:
            if self.get(key) is not None:
                raise Conflict(f"{key!r} exists")
            return False
        match self._client.call("delete", key, encoded(expect)):
            case [b"ok"]:
                return True
            case [b"absent"]:
                return False
            case [b"conflict", bytes(old)]:
                raise Conflict(_conflict(key, old, expect))
            case answer:
                raise unknown_answer("Redis", answer)

    def delete_tree(self, prefix: str) -> int:
        match self._client.call("delete_tree", f"{prefix}/"):
            case [b"ok", int(count)]:
                return count
            case answer:
                raise unknown_answer("Redis", answer)


def _found(rows: Iterable[Any]) -> Found:
    entries, least = [], None
    for key, text, left in rows:
        entries.append(decoded(key, text))
        if left >= 0 and (least is None or left < least):
            least = left
    return Found(entries, None if least is None else least / 1000)


def _conflict(key: str, old: bytes, expect: Expected) -> str:
    if expect is ABSENT:
        return f"{key!r} exists already"
    assert isinstance(expect, Entry)
    if not old:
        return f"{key!r} does not exist, expected revision {expect.revision}"
    revision = decoded(key.encode(), old).revision
    return f"{key!r} has revision {revision}, expected revision {expect.revision}"
