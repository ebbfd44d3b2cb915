"""Keys as Consul has them, and what an answer has to say of them to be one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Operation", "Record", "records_at", "records_below", "records_of", "session_id"]

Operation = dict[str, Any]

_SESSION = re.compile(r"[0-9A-Za-z_-]{1,128}")
_DELETES = {"delete", "delete-cas", "delete-tree", "check-not-exists"}


@dataclass(frozen=True, slots=True)
class Record:
    """A key as Consul has it.

    Attributes:
        key: with the prefix of the URL.
        value: in the answer to a transaction it is left out.
        flags: what the programs that use the key have agreed on.
        session: who has locked it.
        created: index of the write that made it.
        modified: index of the last write; the index grows over the whole of Consul.
        locked: how often it was locked since somebody put or made it.
    """

    key: str
    value: bytes
    flags: int
    session: str | None
    created: int
    modified: int
    locked: int

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        """Take it from a document; raises ValueError, or another of its kind, if it is none."""
        value = item.get("Value")
        return cls(
            key=_text(item["Key"]),
            value=value if isinstance(value, bytes) else b"",
            flags=_number(item["Flags"]),
            session=_text(item.get("Session") or "") or None,
            created=_number(item["CreateIndex"]),
            modified=_number(item["ModifyIndex"], least=1),
            locked=_number(item["LockIndex"]),
        )


def records_at(key: str, item: dict[str, Any] | None) -> list[Record]:
    """The record that a key was asked for, if there is one; raises ValueError for another's."""
    return [] if item is None else _checked([Record.of(item)], lambda found: found == key)


def records_below(path: str, items: Iterable[dict[str, Any]] | None) -> list[Record]:
    """The records of all keys that begin with a path; raises ValueError at the first other one."""
    found = []
    for item in items or ():
        found += _checked([Record.of(item)], lambda key: key.startswith(path))
    return found


def records_of(operations: Sequence[Operation], results: Iterable[Any] | None) -> list[Record]:
    """What the operations of a transaction have left; raises ValueError if it is not that."""
    found = [Record.of(result["KV"]) for result in results or ()]
    last = operations[-1]
    if last["Verb"] in _DELETES:
        return found
    if not found or found[-1].key != last["Key"]:
        raise ValueError("it does not say what was written")
    if last["Verb"] == "lock" and found[-1].session != last["Session"]:
        raise ValueError("it names another session")
    return found


def session_id(found: Any) -> str:
    """The id of a session; raises ValueError if it is none."""
    text = _text(found)
    if not _SESSION.fullmatch(text):
        raise ValueError("it names no session")
    return text


def _checked(found: list[Record], fits: Any) -> list[Record]:
    if not all(fits(record.key) for record in found):
        raise ValueError("it is about another key")
    return found


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError(f"a {type(found).__name__} where a text should be")  # noqa: TRY004 - as JSON's errors
    return found


def _number(found: Any, *, least: int = 0) -> int:
    # A float or a boolean may be equal to a number, and is none.
    if type(found) is not int or not least <= found < 2**64:
        raise ValueError("it has no number where one should be, or one that Consul cannot count to")
    return found
