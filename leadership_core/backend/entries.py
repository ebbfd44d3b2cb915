"""Entries of a store, what a write may expect of them, and what a watch reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..errors import StoreUnavailable
from .expectations import ABSENT, ANY, Expectation

__all__ = ["ABSENT", "ANY", "Change", "Entry", "Expected"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value as it was at one moment.

    Attributes:
        key: the key.
        value: the bytes stored there.
        revision: changes with every write of this key.
        session: the id of the session that it is bound to, or None.
    """

    key: str
    value: bytes
    revision: int
    session: str | None = None


Expected: TypeAlias = Entry | Expectation


Change: TypeAlias = Entry | list[Entry] | StoreUnavailable | None
"""What a watch reports: the entry, None when it is not there, or that the store is away."""
