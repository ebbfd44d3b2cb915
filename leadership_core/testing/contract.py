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
from .cases.outages import OutageCases, OutageElectionCases
from .cases.races import RaceCases
from .cases.sessions import SessionCases
from .cases.successions import SuccessionCases
from .cases.troubles import TroubleCases
from .cases.watches import WatchCases
from .fault_proxy import Outage
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
    OutageCases,
    Contract,
    capabilities=Capability,
):
    """What a store does as a store: entries, comparisons, watches, sessions, fences, bounds, outages.

    Inherit it, say what the store declares, and write a fixture `lab` that yields an open `Lab`.
    A case that needs a capability or an outage that is not declared is not there.

    Args:
        capabilities: what the store declares; by default, as for a store that declares nothing,
            `SESSIONS`.
        outages: which the lab makes. By default all of them, which takes a URL with hosts. A lab
            with a hook that freezes its server makes `{Outage.FREEZE}`, one for a store
            within the process `()`.
    """

    def test_the_lab_makes_the_outages_that_are_declared(self, lab: Lab) -> None:
        """An outage that the lab cannot make is not tested, so that has to be said."""
        assert lab.outages == self.outages, (
            f"the lab makes {sorted(lab.outages) or 'no outages'}, and {sorted(self.outages)} are "
            f"declared: {lab.no_proxy_because or 'a proxy can be put before it'}. Declare "
            "outages={Outage.FREEZE} for a lab with the hooks `freeze` and `resume`, or outages=()"
        )

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
    OutageElectionCases,
    ContentionCases,
    Contract,
    capabilities=Capability,
):
    """What elections on a store do: its own ones, or those that the core builds out of it.

    Inherit it as `StoreContract`, in the same class or in another one.
    """


def contract_cases(
    capabilities: Iterable[str] = LEAST, outages: Iterable[str] = Outage
) -> list[Case]:
    """Return all cases for a store, to be run without a test framework.

    Args:
        capabilities: which the store declares.
        outages: which the lab makes.

    Raises:
        ConfigurationError: Python runs without assertions (-O), so that no case could fail.
    """
    if not __debug__:
        raise ConfigurationError("the contract is written with `assert`: run Python without -O")

    class Whole(StoreContract, ElectionContract, capabilities=capabilities, outages=outages):
        pass

    return Whole.cases()
