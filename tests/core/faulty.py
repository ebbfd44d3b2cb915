"""A `FaultyStore` over `memory://`, whose state the tests look into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from leadership_core import Capability
from leadership_core.memory import MemoryStore, State
from leadership_core.testing import Fault, FaultyStore as AnyFaultyStore
from leadership_core.testing.faulty_store import FaultySession

__all__ = ["Fault", "FaultySession", "FaultyStore", "eventually"]


class FaultyStore(AnyFaultyStore):
    """A `memory://` store with faults.

    Args:
        state: shared with others that stand in the same elections; they may have other faults.
        without: capabilities to hide.
        least_margin: as a store with coarse clocks has it.
    """

    inner: MemoryStore

    def __init__(
        self,
        state: State | None = None,
        *,
        without: Iterable[Capability] = (),
        least_margin: float = 0.0,
    ) -> None:
        super().__init__(MemoryStore(state), without=without, least_margin=least_margin)

    def alive(self) -> list[FaultySession]:
        """The sessions that the store has not ended."""
        with self.inner.state._step():
            return [one for one in self.sessions if one.id in self.inner.state._sessions]


def eventually(condition: Callable[[], object], within: float = 5.0) -> bool:
    """Wait until the condition is true; False if it is not in time."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.003)
    return True
