"""The base of the user's `Store`, and the way from it to the open store; imports no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .open_store import OpenStore

__all__ = ["StoreBase", "internals"]


class StoreBase:
    """What candidates, followers and locks need of the user's `Store`; users never create one.

    Args:
        opened: the open store behind it.
    """

    def __init__(self, opened: OpenStore) -> None:
        self._opened = opened


def internals(store: StoreBase) -> OpenStore:
    """Return the open store behind the user's.

    Raises:
        ConfigurationError: it is not what `open_store` returns.
    """
    if not isinstance(store, StoreBase):
        raise ConfigurationError(
            f"the store must come from open_store(), not {type(store).__name__}"
        )
    return store._opened  # noqa: SLF001 - the one place that reaches behind the user's store
