"""The threads and timers that drive candidates and followers; one engine per open store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .engine import Engine

if TYPE_CHECKING:
    from ..handle import StoreHandle

__all__ = ["Engine", "engine_of"]


def engine_of(store: StoreHandle) -> Engine:
    """The engine of what `open_store` returned; raises `ConfigurationError` for anything else."""
    if not hasattr(type(store), "engine"):
        raise ConfigurationError(
            f"the store is what open_store() returns, not {type(store).__name__}"
        )
    return store.engine
