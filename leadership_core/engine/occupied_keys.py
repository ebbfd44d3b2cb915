"""The keys that a session cannot enter now, however many elections there are."""

from __future__ import annotations

__all__ = ["OccupiedKeys"]


class OccupiedKeys:
    """A set of keys in which each is as often as it was added.

    A session has one: a key is in it once for each request to enter that is under way, and once for each
    orphaned claim. Used in the scheduler's thread only.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._counts

    def add(self, key: str) -> None:
        """Add it once more."""
        self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, key: str) -> None:
        """Remove it once."""
        count = self._counts.pop(key) - 1
        if count:
            self._counts[key] = count
