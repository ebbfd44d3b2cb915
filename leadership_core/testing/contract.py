"""The contract: what every store does alike, in two classes for its author to inherit."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError
from ..store import Capability
from .case import LEAST, Case, Contract
from .cases.bounds import BoundCases
from .cases.candidates import CandidateCases
from .cases.closings import ClosingCases
from .cases.comparisons import ComparisonCases
from .cases.contention import ContentionCases
from .cases.entries import EntryCases
from .cases.expectations import is_equal
from .cases.fences import FenceCases
from .cases.followers import FollowerCases
from .cases.keys import KeyCases
from .cases.leaders import LeaderCases
from .cases.races import RaceCases
from .cases.sessions import SessionCases
from .cases.successions import SuccessionCases
from .cases.troubles import TroubleCases
from .cases.watches import WatchCases
from .lab import Lab

__all__ = ["ElectionContract", "StoreContract", "contract_cases"]


class StoreContract(
    EntryCases,
    KeyCases,
    ComparisonCases,
    WatchCases,
    ClosingCases,
    SessionCases,
    FenceCases,
    BoundCases,
    Contract,
    capabilities=Capability,
):
    """What a store does as a store: entries, comparisons, watches, sessions, fences, bounds.

    Inherit it, say what the store declares, and write a fixture `lab` that yields an open `Lab`.
    A case that needs a capability that is not declared is not there.

    Args:
        capabilities: what the store declares; by default, as for a store that declares nothing,
            `SESSIONS`.
    """

    def test_it_declares_what_it_has(self, lab: Lab) -> None:
        """The open store declares the capabilities that it is tested for: no more, and no less."""
        is_equal(set(lab.capabilities), set(self.capabilities), "capabilities")
        is_equal(lab.open().capabilities, lab.capabilities, "those of another connection")


class ElectionContract(
    RaceCases,
    SuccessionCases,
    LeaderCases,
    CandidateCases,
    FollowerCases,
    TroubleCases,
    ContentionCases,
    Contract,
    capabilities=Capability,
):
    """What elections on a store do: its own ones, or those that the core builds out of it.

    Inherit it as `StoreContract`, in the same class or in another one.
    """


def contract_cases(capabilities: Iterable[str] = LEAST) -> list[Case]:
    """Return all cases for a store with these capabilities, for whoever has no test framework.

    Raises:
        ConfigurationError: Python runs without assertions (-O), so that no case could fail.
    """
    if not __debug__:
        raise ConfigurationError("the contract is written with `assert`: run Python without -O")

    class Whole(StoreContract, ElectionContract, capabilities=capabilities):
        pass

    return Whole.cases()
