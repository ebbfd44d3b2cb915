"""A `FaultyStore` over `memory://`, whose state the tests inspect."""

from __future__ import annotations

from collections.abc import Iterable

from leadership_core import Candidate, Capability, Term
from leadership_core.stores.memory import MemoryStore, State
from leadership_core.testing import Fault, FaultyStore as AnyFaultyStore
from leadership_core.testing.faulty_store import FaultySession

__all__ = ["Fault", "FaultySession", "FaultyStore", "elected"]


class FaultyStore(AnyFaultyStore):
    """A `memory://` store with faults.

    Args:
        state: shared with other stores of the same elections, which may have other faults.
        without: capabilities to hide.
        least_margin: seconds; what the store declares.
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

    def armed_watches(self) -> int:
        """How many watches the store serves."""
        return self.inner.state.debug_state().watches

    def silence_watches(self) -> None:
        """Let the watches report nothing from now on."""
        self.inner.state._watched.clear()

    def alive(self) -> list[FaultySession]:
        """Return the sessions that the store has not ended."""
        alive = self.inner.state.debug_state().sessions
        return [one for one in self.sessions if one.id in alive]


def elected(candidate: Candidate) -> Term:
    """Wait until the candidate leads."""
    term = candidate.wait_elected(5)
    assert term is not None
    return term
