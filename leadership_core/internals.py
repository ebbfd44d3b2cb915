"""What candidates, locks, the command and tests use of an open store, and users do not.

The one place that reaches behind `StoreHandle`, so that its public names are those that users call.
"""
# ruff: noqa: SLF001 - that is what this module is for

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .engine import Engine
    from .handle import StoreHandle

__all__ = ["StoreInternals", "internals"]


def internals(store: StoreHandle) -> StoreInternals:
    """Reach behind a store.

    Raises:
        ConfigurationError: it is not what `open_store` returns.
    """
    if not hasattr(type(store), "_close_by"):
        raise ConfigurationError(
            f"the store is what open_store() returns, not {type(store).__name__}"
        )
    return StoreInternals(store)


class StoreInternals:
    """The parts of a store that are not for users; keeps the store from being collected."""

    __slots__ = ("_store",)

    def __init__(self, store: StoreHandle) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """Where it is, with all secrets masked."""
        return self._store.url

    @property
    def engine(self) -> Engine:
        """Its threads and timers; raises `ForkedStore` and `StoreClosed`."""
        self._store._guard()
        return self._store._engine

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that opened the store."""
        return self._store._forked

    def fork_guard(self) -> None:
        """Raise `ForkedStore` in a forked child."""
        self._store._fork_guard()

    def guard(self) -> None:
        """Raise `ForkedStore` in a forked child, and `StoreClosed` after `close`."""
        self._store._guard()

    def normalise(self, key: str) -> str:
        """The key as this library writes it; raises `InvalidKey`."""
        return self._store._keys.normalise(key)

    def full_key(self, key: str) -> str:
        """The key as the store sees it; raises `InvalidKey`."""
        return self._store._keys.full(key)

    # -- the end ---------------------------------------------------------------------------

    def begin_close(self) -> None:
        """Let its candidates and followers start to leave; waits for nothing."""
        if not self.forked:
            self._store._engine.begin_close()

    def has_left(self) -> bool:
        """Whether nothing of it is left at the store, once it has begun to close."""
        return self._store._engine.has_left()

    def close_by(self, until: float) -> bool:
        """Close it as `close` does, until a time of the clock."""
        return self._store._close_by(until)

    def finish_close(self) -> None:
        """Close it if `close` was called where it could not wait; called where it can."""
        self._store._finish_close()

    def end_in_child(self) -> None:
        """Make it inert: this process is a forked child."""
        self._store._engine.end_in_child()
