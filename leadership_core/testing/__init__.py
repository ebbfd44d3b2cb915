"""What a store must do, and what it takes to find out: for authors of stores, and of programs.

A plugin's author writes:

    class TestMyStore(StoreContract, ElectionContract, capabilities=MyStore.capabilities):
        @pytest.fixture
        def lab(self, tmp_path):
            with Lab(f"mine://{tmp_path}/x") as lab:
                yield lab

Nothing here imports a test framework: a case is a method that takes a lab, and asserts.
"""

from __future__ import annotations

from .case import Case, needs
from .contender import Contender
from .contract import ElectionContract, StoreContract, contract_cases
from .fault_proxy import FaultProxy, Outage
from .faults import CALLS, Fault
from .faulty_store import FaultyStore
from .heard import Heard
from .history import Belief, History, Note, check_history
from .lab import Lab
from .virtual_clock import VirtualClock
from .witness import Witness

__all__ = [
    "CALLS",
    "Belief",
    "Case",
    "Contender",
    "ElectionContract",
    "Fault",
    "FaultProxy",
    "FaultyStore",
    "Heard",
    "History",
    "Lab",
    "Note",
    "Outage",
    "StoreContract",
    "VirtualClock",
    "Witness",
    "check_history",
    "contract_cases",
    "needs",
]
