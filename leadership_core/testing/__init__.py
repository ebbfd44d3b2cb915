"""The testing kit: the contract of stores, and tools for tests of elections.

The author of a plugin inherits the contract:

    class TestMyStore(StoreContract, ElectionContract, capabilities=MyStore.capabilities):
        @pytest.fixture
        def sandbox(self, tmp_path):
            with Sandbox(f"mine://{tmp_path}/x") as sandbox:
                yield sandbox

Nothing here imports a test framework: a case is a method that takes a sandbox and asserts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names, module_of_names

if TYPE_CHECKING:
    from .case import Case, needs
    from .contract import ElectionContract, StoreContract, contract_cases
    from .fault_injection import CALLS, Fault
    from .fault_proxy import FaultProxy, Outage
    from .faulty_store import FaultyStore
    from .history import History, LeadershipInterval, Observation, check_history
    from .manual_candidate import ManualCandidate
    from .recorders import CandidateRecorder, WatchRecorder
    from .sandbox import Sandbox
    from .store_faults import OngoingFault, OtherLeader, StoreFaults
    from .virtual_clock import VirtualClock

__all__ = [
    "CALLS",
    "CandidateRecorder",
    "Case",
    "ElectionContract",
    "Fault",
    "FaultProxy",
    "FaultyStore",
    "History",
    "LeadershipInterval",
    "ManualCandidate",
    "Observation",
    "OngoingFault",
    "OtherLeader",
    "Outage",
    "Sandbox",
    "StoreContract",
    "StoreFaults",
    "VirtualClock",
    "WatchRecorder",
    "check_history",
    "contract_cases",
    "needs",
]

# The names of each module; a test compares them with the declarations above.
_MODULE_OF = module_of_names(
    {
        ".case": "Case needs",
        ".contract": "ElectionContract StoreContract contract_cases",
        ".fault_injection": "CALLS Fault",
        ".fault_proxy": "FaultProxy Outage",
        ".faulty_store": "FaultyStore",
        ".history": "History LeadershipInterval Observation check_history",
        ".manual_candidate": "ManualCandidate",
        ".recorders": "CandidateRecorder WatchRecorder",
        ".sandbox": "Sandbox",
        ".store_faults": "OngoingFault OtherLeader StoreFaults",
        ".virtual_clock": "VirtualClock",
    }
)
if not TYPE_CHECKING:  # for a type checker, every name would exist
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)
