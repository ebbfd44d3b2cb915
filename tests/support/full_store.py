"""Type of a store that has all optional parts, for tests that call them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol

from leadership_core.backend import Capability, Election, StoreBackend

__all__ = ["FullStore"]


class FullStore(StoreBackend, Protocol):
    """A store with the optional parts that the docstring of `StoreBackend` describes."""

    @property
    def capabilities(self) -> AbstractSet[Capability]: ...

    @property
    def prefix(self) -> str: ...

    @property
    def least_margin(self) -> float: ...

    def expires_within(self, ttl: float) -> float: ...

    def election(self, key: str) -> Election: ...

    def exists(self, key: str) -> bool: ...

    def delete_tree(self, prefix: str) -> int: ...

    def after_fork_in_child(self) -> None: ...
