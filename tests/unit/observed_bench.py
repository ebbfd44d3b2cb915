"""Processes with elections and sessions by observation, on one store with compare-and-set and a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leadership_core import Capability, Entry, Session
from leadership_core.backend import ABSENT, Claim, ObservedElection, StoreUnavailable, claim_key
from leadership_core.backend.entries import Expected
from leadership_core.stores.memory import State
from leadership_core.testing import VirtualClock
from tests.support.comparing_store import ComparingStore

__all__ = ["CLAIM", "KEY", "TTL", "Bench", "Faulty", "Process"]

KEY = "jobs/leader"
CLAIM = claim_key(KEY)
TTL = 10.0


class Faulty(ComparingStore):
    """Loses an answer, or a request that may still arrive.

    Attributes:
        fault: of the next put: "answer" is lost, "request" is lost, "late" arrives when `arrive` is called.
        late: what arrives later.
        requests: the names of all requests.
    """

    fault: str | None = None

    def __init__(self, state: State, *capabilities: Capability) -> None:
        super().__init__(state, *capabilities)
        self.late: Callable[[], object] = lambda: None
        self.requests: list[str] = []

    def get(self, key: str) -> Entry | None:
        self.requests.append("get")
        return super().get(key)

    def put(self, key: str, value: bytes, *, expect: Expected = ABSENT, **more: object) -> Entry:
        self.requests.append("put")
        fault, self.fault = self.fault, None
        if fault is None:
            return super().put(key, value, expect=expect)
        if fault == "answer":
            super().put(key, value, expect=expect)
        if fault == "late":
            self.late = lambda: ComparingStore.put(self, key, value, expect=expect)
        raise StoreUnavailable("no answer")


@dataclass
class Process:
    """One process with an open store, a session and an election."""

    store: Faulty
    session: Session
    election: ObservedElection
    claim: Claim | None = None

    def enter(self) -> Claim:
        self.claim = self.election.enter(self.session, b"value")
        return self.claim

    def leads(self) -> bool:
        """Enter, and return whether it leads."""
        return self.enter().granted

    def status(self) -> object:
        assert self.claim is not None
        return self.election.status(self.claim)

    def withdraw(self) -> None:
        assert self.claim is not None
        self.election.withdraw(self.claim)


class Bench:
    """Processes that share a state, and a clock."""

    def __init__(self, kind: str) -> None:
        self.clock = VirtualClock()
        self.state = State(self.clock)
        self.capabilities = [Capability.GLOBAL_REVISION] if kind == "revisions" else []

    def process(self, ttl: float = TTL) -> Process:
        store = Faulty(self.state, *self.capabilities)
        return Process(store, store.open_session(ttl), ObservedElection(store, KEY, store.sessions))

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def entry(self) -> Entry | None:
        return self.state.get(CLAIM)
