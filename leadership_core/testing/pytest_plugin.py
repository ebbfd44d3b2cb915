"""Fixtures for pytest: a store on a virtual clock, for tests of programs.

pytest imports this module at each start, so it imports nothing of the library until a test asks for
a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..store import Store
    from .store_faults import StoreFaults
    from .virtual_clock import VirtualClock

__all__ = ["leadership_clock", "leadership_faults", "leadership_store"]


@pytest.fixture
def leadership_clock() -> VirtualClock:
    """The clock of `leadership_store`: `elapse(60)` lets time pass, `advance(20)` jumps."""
    from .virtual_clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def leadership_faults(leadership_clock: VirtualClock) -> Iterator[StoreFaults]:
    """What can happen to `leadership_store`: lost leases, outages, slow answers, other leaders."""
    from .store_faults import StoreFaults

    with StoreFaults(leadership_clock) as faults:
        yield faults


@pytest.fixture
def leadership_store(leadership_faults: StoreFaults) -> Store:
    """An open memory:// store on `leadership_clock`, of this test alone; closed at the end."""
    return leadership_faults.store
