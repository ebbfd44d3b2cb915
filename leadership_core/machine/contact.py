"""Whether the store answers, as one candidate sees it."""

from __future__ import annotations

from ..errors import StoreUnavailable
from ..events import StoreDown, StoreUp

__all__ = ["Contact"]


class Contact:
    """Turns failures and answers into `StoreDown` and `StoreUp`, which take turns.

    Renewals may succeed while requests for the key fail, for lack of a permission, say; so each
    way to the store is counted by itself, and it is up when it is up on all of them.
    """

    def __init__(self) -> None:
        self._down: set[str] = set()

    def failed(self, way: str, error: StoreUnavailable) -> list[StoreDown | StoreUp]:
        """A request gave no usable answer."""
        news = not self._down
        self._down.add(way)
        return [StoreDown(error)] if news else []

    def answered(self, way: str) -> list[StoreDown | StoreUp]:
        """A request was answered."""
        if way not in self._down:
            return []
        self._down.discard(way)
        return [] if self._down else [StoreUp()]
