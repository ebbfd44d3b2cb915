"""The contract of stores: two classes of cases for the author of a plugin to inherit."""

from __future__ import annotations

from collections.abc import Iterable

from ..backend.protocols import Capability
from ..errors import ConfigurationError
from .case import LEAST, Case, Contract
from .cases.assertions import is_equal
from .cases.candidates import CandidateCases
from .cases.closings import ClosingCases
from .cases.compare_and_set import CompareAndSetCases
from .cases.contention import ContentionCases
from .cases.elections import ElectionCases
from .cases.entries import EntryCases
from .cases.fault_tolerance import FaultToleranceCases
from .cases.fences import FenceCases
from .cases.followers import FollowerCases
from .cases.handover import HandoverCases
from .cases.keys import KeyCases
from .cases.leaders import LeaderCases
from .cases.outages import OutageCases, OutageElectionCases
from .cases.sessions import SessionCases
from .cases.timeouts import TimeoutCases
from .cases.watches import WatchCases
from .fault_proxy import Outage
from .sandbox import Sandbox

__all__ = ["ElectionContract", "StoreContract", "contract_cases"]


class StoreContract(
    EntryCases,
    KeyCases,
    CompareAndSetCases,
    WatchCases,
    ClosingCases,
    SessionCases,
    FenceCases,
    TimeoutCases,
    OutageCases,
    Contract,
    capabilities=Capability,
):
    """The contract of a key-value store: entries, watches, sessions, fences, timeouts and outages.

    Inherit it, declare the capabilities, and write a fixture `sandbox` that yields an open `Sandbox`.
    A case that needs an undeclared capability or outage is left out.

    Example:
        >>> class TestMyStore(StoreContract, ElectionContract, capabilities=MyStore.capabilities):
        ...     @pytest.fixture
        ...     def sandbox(self):
        ...         with Sandbox("mine://host") as sandbox:
        ...             yield sandbox

    Args:
        capabilities: the capabilities of the store; by default `SESSIONS`, as for a store that
            declares none.
        outages: the outages that the sandbox makes. By default all, which takes a URL with hosts. A
            sandbox with a hook that freezes its server makes `{Outage.FREEZE}`, one of a store
            within the process makes `()`.
    """

    def test_sandbox_makes_the_declared_outages(self, sandbox: Sandbox) -> None:
        """An outage that the sandbox cannot make is not tested, so that has to be declared."""
        assert sandbox.outages == self.outages, (
            f"the sandbox makes {sorted(sandbox.outages) or 'no outages'}, and {sorted(self.outages)} are "
            f"declared: {sandbox.no_proxy_because or 'a proxy can be put before it'}. Declare "
            "outages={Outage.FREEZE} for a sandbox with the hooks `freeze` and `resume`, or outages=()"
        )

    def test_store_declares_the_tested_capabilities(self, sandbox: Sandbox) -> None:
        """The open store declares exactly the capabilities that it is tested for."""
        is_equal(set(sandbox.capabilities), set(self.capabilities), "capabilities")
        is_equal(sandbox.open().capabilities, sandbox.capabilities, "those of another connection")


class ElectionContract(
    ElectionCases,
    HandoverCases,
    LeaderCases,
    CandidateCases,
    FollowerCases,
    FaultToleranceCases,
    OutageElectionCases,
    ContentionCases,
    Contract,
    capabilities=Capability,
):
    """The contract of elections on a store, its own ones or the core's default ones.

    Inherit it like `StoreContract`, in the same class or in another one.
    """


def contract_cases(
    capabilities: Iterable[str] = LEAST, outages: Iterable[str] = Outage
) -> list[Case]:
    """Return all cases for a store, to be run without a test framework.

    Example:
        >>> for case in contract_cases(MyStore.capabilities, outages=()):
        ...     with Sandbox("mine://host") as sandbox:
        ...         case.run(sandbox)

    Args:
        capabilities: the capabilities of the store.
        outages: the outages that the sandbox makes.

    Raises:
        ConfigurationError: Python runs without assertions (-O), so that no case could fail.
    """
    if not __debug__:
        raise ConfigurationError("the contract is written with `assert`: run Python without -O")

    class Whole(StoreContract, ElectionContract, capabilities=capabilities, outages=outages):
        pass

    return Whole.cases()
