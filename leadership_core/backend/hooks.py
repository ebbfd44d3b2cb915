"""The pluggy hooks: that of a store plugin, with its entry-point group, and that of observers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from .protocols import StoreBackend
from .url import StoreURL

if TYPE_CHECKING:
    from .records import Record

__all__ = [
    "PROJECT",
    "hookimpl",
    "hookspec",
    "leadership_observe",
    "leadership_open_store",
]

PROJECT = "leadership"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Return a store for the URL, without sending a request; None if the scheme is another plugin's.

    Raises:
        ConfigurationError: the URL has an option or a part that the store does not know.
    """


@hookspec
def leadership_observe(record: Record) -> None:
    """Take note of what has happened; see `leadership_core.observers`.

    Called for one record at a time, in a thread that delays no renewal; it should not block all
    the same, because a full queue drops records.
    """
